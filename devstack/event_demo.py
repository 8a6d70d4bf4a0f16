"""The demo of events: posts events with duplicates, disorder and failures, and checks what became of each."""

import random
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from devstack.process import wait_for
from devstack.row_counts import count_rows
from devstack.stack import Stack
from devstack.story import check, print_chapter, say, show_command, show_progress
from fake_sendgrid.events import Event, generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: Seconds for the workers to finish.
PATIENCE = 120

#: The most attempts of a failing receiver. The default is higher and lasts a day.
TRIES = 3


@dataclass(frozen=True)
class Figures:
    """Figures from the database and the counters."""

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
    """The bodies to post, and the expected figures."""

    bodies: list[bytes]
    posted: int
    distinct: int
    bounces: int
    clicks: int


def _plan() -> Plan:
    """Plan many small posts and a large one, with duplicates, disorder, an unreadable and an unknown event.

    The receiver `crm` fails with one event as long as the customer database is closed.
    """
    rng = random.Random(7)
    events = generate_events(1600)
    unknown: Event = {**events[0], "event": "hologram_viewed", "sg_event_id": "an-event-of-next-year"}
    refused: Event = {
        **events[0],
        "event": "delivered",
        "email": "vip@example.com",
        "sg_event_id": "an-event-the-crm-refuses",
    }
    elements: list[Event | bytes] = [*events, unknown, refused, b'"this is no event"']
    rng.shuffle(elements)
    large, rest = elements[:1000], elements[1000:]
    posts = [large]
    while rest:
        size = rng.randint(1, 25)
        posts.append(rest[:size])
        rest = rest[size:]
    posts += [rng.sample(elements, 20) for _ in range(8)]
    posts += [posts[5]] * 3
    rng.shuffle(posts)
    names = [event["event"] for event in events]
    return Plan(
        bodies=[event_batch(post) for post in posts],
        posted=sum(map(len, posts)),
        distinct=len(elements),
        bounces=names.count("bounce"),
        clicks=names.count("click"),
    )


def run(deployment: Stack, sender: WebhookSender, closed: Path) -> tuple[dict[str, int], bool]:
    """Post the events; return the figures, and whether they are as expected.

    One receiver fails with one event as long as the file `closed` exists.
    """
    plan = _plan()
    print_chapter(1, "Events come in")
    say(
        f"SendGrid posts {plan.posted} events about the shop's earlier mails, in {len(plan.bodies)} signed "
        f"posts. {plan.posted - plan.distinct} of them are duplicates, many come out of order, one is of an "
        "unknown type, and one is no event at all."
    )
    print(flush=True)
    say(
        "Workers store them and call the shop's receivers. One receiver, `crm`, is unreliable: it fails once "
        f"with each of {plan.bounces} bounces, and every time with one event."
    )
    _post(sender, deployment.webhook_url, plan.bodies)
    _wait(deployment, plan, dead=2)
    print(flush=True)
    say(
        "For the bounces, `crm` alone was called again, and succeeded. The other event is a dead letter "
        f"after {TRIES} attempts, and keeps the traceback. The shop mends `crm` and retries the event:"
    )
    closed.unlink()
    retry = ("events", "retry", "--state", "dead", "--receiver", "crm")
    show_command(f"manage.py {' '.join(retry)}", deployment.manage(*retry))
    figures = _wait(deployment, plan, dead=1)
    good = check(
        ("events stored, each once", figures.stored, plan.distinct),
        ("duplicates recognized", figures.duplicates, plan.posted - plan.distinct),
        ("unreadable, kept as a dead letter", figures.dead, 1),
        ("still waiting for a receiver", figures.pending, 0),
        ("calls of a receiver, one an event", figures.receiver_calls, plan.distinct - 1),
        ("bounces noted by a receiver", figures.bounces, plan.bounces),
        ("clicks noted by a receiver", figures.clicks, plan.clicks),
        # One retry for each bounce. The refused event is retried up to the limit, and once by the command.
        ("retries of the receiver that failed", figures.retried, plan.bounces + TRIES),
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
    """Return the figures when nothing but `dead` dead events is left, or when the time is over."""

    def finished() -> Figures | None:
        figures = _figures(deployment.env)
        show_progress(f"{figures.stored} of {plan.distinct} events stored, {figures.pending} pending")
        seen = figures.stored + figures.duplicates
        is_finished = seen >= plan.posted and figures.pending == 0 and figures.dead == dead
        return figures if is_finished else None

    try:
        return wait_for(finished, seconds=PATIENCE, what="every event settled")
    except TimeoutError as timeout:
        say(str(timeout))
        return _figures(deployment.env)
    finally:
        show_progress("")


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
            int(redis.hget("{sendgrid:events}:counters", name) or 0)
            for name in ("events_duplicate", "events_retried")
        )
    return Figures(duplicates=duplicates, retried=retried, **count_rows(env, tables))
