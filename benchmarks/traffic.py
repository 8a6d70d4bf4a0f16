"""Posts of SendGrid for our mails, made and signed before a measurement begins."""

import random
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from fake_sendgrid.events import Event, generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from sending_app.message_ids import time_ordered

#: The events in a hundred that SendGrid posts twice.
DUPLICATES = 5

#: Concurrent connections, enough to keep the web process busy.
CONNECTIONS = 4

#: The time of the first event, and the seconds between the first events of two seeds. A deployment's events
#: come in the order of their times, so the traffic of a higher seed is newer.
FIRST = 1_780_000_000
_APART = 100_000

#: Engagement events happen about an hour later, duplicates come some minutes later.
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


def make(sender: WebhookSender, count: int, size: int, seed: int, start: int | None = None) -> Traffic:
    """Make `count` events of our mails and some duplicates, in signed posts of `size`.

    `start` is the Unix time of the first event; the default depends on the seed. A mail a second or so. The
    same arguments make the same events.
    """
    rng = random.Random(seed)
    events = generate_events(count, seed, FIRST + seed * _APART if start is None else start)
    mails: dict[str, Mail] = {}
    for event in events:
        mail = mails.setdefault(event["anymail_id"], _mail(event, rng))
        event["anymail_id"] = str(mail.id)
        if later := _LATER.get(event["event"]):
            event["timestamp"] += int(rng.expovariate(1 / later))
    duplicates = rng.sample(events, count * DUPLICATES // 100)
    comes = [(float(event["timestamp"]), event) for event in events]
    comes += [(event["timestamp"] + rng.expovariate(1 / _AGAIN), event) for event in duplicates]
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
    """Post all over one connection, each as the iterable yields it.

    Not by http.client: it takes as much CPU time for a post as the measured server.
    """
    address = urlsplit(url)
    with (
        socket.create_connection((address.hostname or "", address.port or 80)) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for body, headers in posts:
            fields = {"Host": address.netloc, "Content-Length": len(body), **headers}
            lines = [
                f"POST {address.path} HTTP/1.1",
                *(f"{name}: {value}" for name, value in fields.items()),
            ]
            connection.sendall("\r\n".join((*lines, "\r\n")).encode() + body)
            status = _read_answer(answers)
            if status != 200:
                raise RuntimeError(f"{url} answered a post with {status}")


def _read_answer(answers: BinaryIO) -> int:
    """Read an answer that announces its length, as both deployments' answers do. Return its status."""
    status = answers.readline().split(b" ")[1:2]
    if not status:
        raise ConnectionError("the server closed the connection without an answer")
    length = 0
    while line := answers.readline().rstrip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answers.read(length)
    return int(status[0])


def _mail(event: Event, rng: random.Random) -> Mail:
    request, _, _ = event["sg_message_id"].partition(".")
    sent_at = event["timestamp"] * 1000 - rng.randrange(1000)
    return Mail(time_ordered(sent_at, rng.getrandbits(74)), event["email"], request)
