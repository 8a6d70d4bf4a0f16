"""The demo of events: many are posted, with repeats, disorder and faults, and each must come to its end."""

import random
import sys
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from devstack.process import wait_for
from devstack.row_counts import count_rows, print_comparison
from devstack.stack import Stack
from fake_sendgrid.events import Event, generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: Seconds the workers have for everything.
PATIENCE = 120

#: Calls after which a receiver that fails is given up; by default there are more, over a day.
TRIES = 3


@dataclass(frozen=True)
class Figures:
    """What the database and the counters say."""

    stored: int
    pending: int
    dead: int
    duplicates: int
    receiver_calls: int
    bounces: int
    clicks: int
    retried: int


@dataclass(frozen=True)
class Plan:
    """The bodies to post, and what must come of them."""

    bodies: list[bytes]
    posted: int
    distinct: int
    bounces: int
    clicks: int


def _plan() -> Plan:
    """Small posts and a large one, with repeats, disorder, something unreadable, something unknown.

    One event is for a customer whom a receiver cannot serve until somebody opens the customer database.
    """
    chance = random.Random(7)
    events = generate_events(1600)
    unknown: Event = {**events[0], "event": "hologram_viewed", "sg_event_id": "an-event-of-next-year"}
    refused: Event = {
        **events[0],
        "event": "delivered",
        "email": "vip@example.com",
        "sg_event_id": "an-event-the-crm-refuses",
    }
    elements: list[Event | bytes] = [*events, unknown, refused, b'"this is no event"']
    chance.shuffle(elements)
    large, rest = elements[:1000], elements[1000:]
    posts = [large]
    while rest:
        size = chance.randint(1, 25)
        posts.append(rest[:size])
        rest = rest[size:]
    posts += [chance.sample(elements, 20) for _ in range(8)]
    posts += [posts[5]] * 3
    chance.shuffle(posts)
    names = [event["event"] for event in events]
    return Plan(
        bodies=[event_batch(post) for post in posts],
        posted=sum(map(len, posts)),
        distinct=len(elements),
        bounces=names.count("bounce"),
        clicks=names.count("click"),
    )


def run(deployment: Stack, sender: WebhookSender, closed: Path) -> tuple[dict[str, int], bool]:
    """Post them; answer the figures, and whether they are what they must be.

    While the file `closed` is there, one receiver fails with one event.
    """
    plan = _plan()
    _say(
        f"Posting {plan.posted} events, {plan.distinct} of them distinct, in {len(plan.bodies)} signed posts."
    )
    _post(sender, deployment.webhook_url, plan.bodies)
    _wait(deployment, plan, dead=2)
    _say(
        "\nOne receiver has failed with an event until it was given up. The cause mended, it is tried again:"
    )
    closed.unlink()
    retry = ("events", "retry", "--state", "dead", "--receiver", "crm")
    _say(f"  $ manage.py {' '.join(retry)}")
    _say(textwrap.indent(deployment.manage(*retry), "  ").rstrip())
    figures = _wait(deployment, plan, dead=1)
    good = print_comparison(
        ("stored, each once", figures.stored, plan.distinct),
        ("duplicates recognized", figures.duplicates, plan.posted - plan.distinct),
        ("unreadable, kept as dead", figures.dead, 1),
        ("still pending for a receiver", figures.pending, 0),
        ("receiver calls, one an event", figures.receiver_calls, plan.distinct - 1),
        ("bounces noted", figures.bounces, plan.bounces),
        ("clicks noted", figures.clicks, plan.clicks),
        # Each bounce once more; the refused one until it was given up, and once by hand.
        ("failed receivers called again", figures.retried, plan.bounces + TRIES),
    )
    answer = {
        "posted": plan.posted,
        "distinct": plan.distinct,
        "stored": figures.stored,
        "duplicates": figures.duplicates,
        "dead": figures.dead,
        "receiver_calls": figures.receiver_calls,
        "retried": figures.retried,
        "lost": plan.distinct - figures.stored,
    }
    return answer, good


def _post(sender: WebhookSender, url: str, bodies: Iterable[bytes]) -> None:
    for body in bodies:
        answer = sender.post(url, body)
        if answer.status_code != 200:
            raise RuntimeError(f"the webhook answered {answer.status_code}: {answer.text}")


def _wait(deployment: Stack, plan: Plan, dead: int) -> Figures:
    """The figures once nothing is left to do but for the dead, or when the patience is over."""
    shown = ""

    def settled() -> Figures | None:
        nonlocal shown
        figures = _figures(deployment.env)
        line = f"  {figures.stored} of {plan.distinct} events stored, {figures.pending} with their receivers."
        if line != shown and sys.stdout.isatty():
            print(f"\r{line:<70}", end="", flush=True)
        shown = line
        seen = figures.stored + figures.duplicates
        settled = seen >= plan.posted and figures.pending == 0 and figures.dead == dead
        return figures if settled else None

    try:
        return wait_for(settled, seconds=PATIENCE, what="every event settled")
    except TimeoutError as late:
        _say(str(late))
        return _figures(deployment.env)


def _figures(env: Mapping[str, str]) -> Figures:
    tables = {
        "stored": "events_app_event",
        "pending": "events_app_pendingdelivery WHERE state = 'pending'",
        "dead": "events_app_pendingdelivery WHERE state = 'dead'",
        "receiver_calls": "example_app_call",
        "bounces": "example_app_bounce",
        "clicks": "example_app_click",
    }
    with closing(Redis.from_url(env["REDIS_URL"])) as redis:
        duplicates, retried = (
            int(redis.hget("{sendgrid:events}:counters", name) or 0) for name in ("duplicate", "retried")
        )
    return Figures(duplicates=duplicates, retried=retried, **count_rows(env, tables))


def _say(line: str) -> None:
    print(line, flush=True)
