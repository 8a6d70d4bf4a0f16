"""Posts of SendGrid for our mails, made and signed before a measurement begins."""

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from fake_sendgrid.events import Event, generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: The events in a hundred that SendGrid posts twice.
DUPLICATES = 5

#: Concurrent connections, enough to keep the web process busy.
CONNECTIONS = 4

#: Engagement events come about an hour later, duplicates some minutes later.
_LATER = {"open": 3600, "click": 3600, "unsubscribe": 3600, "spamreport": 3600}
_AGAIN = 300


class Mail(NamedTuple):
    """A sent mail to one recipient."""

    id: uuid.UUID
    address: str
    #: SendGrid's X-Message-Id.
    request: str


class Post(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


class Traffic(NamedTuple):
    mails: list[Mail]
    #: Without duplicates.
    events: list[Event]
    #: With duplicates, in the order of arrival.
    posts: list[Post]


def make(sender: WebhookSender, count: int, size: int, seed: int) -> Traffic:
    """Make `count` events of our mails and some duplicates, in signed posts of `size`.

    The same seed makes the same events.
    """
    rng = random.Random(seed)
    events = generate_events(count, seed)
    mails: dict[str, Mail] = {}
    for event in events:
        mail = mails.setdefault(event["anymail_id"], _mail(event, rng))
        event["anymail_id"] = str(mail.id)
    duplicates = rng.sample(events, count * DUPLICATES // 100)
    comes = [(_comes_at(event, rng), event) for event in events]
    comes += [(_comes_at(event, rng) + rng.expovariate(1 / _AGAIN), event) for event in duplicates]
    comes.sort(key=lambda arrival: arrival[0])
    posted = [event for _, event in comes]
    return Traffic(list(mails.values()), events, signed(sender, posted, size))


def signed(sender: WebhookSender, events: Sequence[Event | bytes], size: int) -> list[Post]:
    """Make signed posts of `size` events."""
    bodies = [event_batch(events[at : at + size]) for at in range(0, len(events), size)]
    return [Post(body, sender.headers(body)) for body in bodies]


def send(url: str, posts: Sequence[Post]) -> None:
    """Post all over a few kept-alive connections. Raises RuntimeError if a post is not accepted."""
    shares = [posts[at::CONNECTIONS] for at in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: send_in_turn(url, share), shares))


def send_in_turn(url: str, posts: Iterable[Post]) -> None:
    """Post all over one connection, each as the iterable yields it."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port)
    for body, headers in posts:
        connection.request("POST", address.path, body, dict(headers))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered a post with {answer.status}")
    connection.close()


def _mail(event: Event, rng: random.Random) -> Mail:
    request, _, _ = event["sg_message_id"].partition(".")
    return Mail(uuid.UUID(int=rng.getrandbits(128)), event["email"], request)


def _comes_at(event: Event, rng: random.Random) -> float:
    later = _LATER.get(event["event"])
    return float(event["timestamp"]) + (rng.expovariate(1 / later) if later else 0)
