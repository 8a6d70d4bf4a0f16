"""What SendGrid posts about mails of ours, made and signed before any clock runs."""

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from fake_sendgrid.events import Event, generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: Of a hundred events, those that SendGrid posts twice.
REPEATS = 5

#: Connections that post at once: enough to keep the web process busy.
CONNECTIONS = 4

#: What people do comes about an hour later, a repeat some minutes.
_LATER = {"open": 3600, "click": 3600, "unsubscribe": 3600, "spamreport": 3600}
_AGAIN = 300


class Mail(NamedTuple):
    """One that was sent, to one recipient."""

    id: uuid.UUID
    address: str
    #: SendGrid's X-Message-Id.
    request: str


class Post(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


class Traffic(NamedTuple):
    mails: list[Mail]
    #: Each once.
    events: list[Event]
    #: With repeats, in the order in which they come.
    posts: list[Post]


def make(sender: WebhookSender, count: int, size: int, seed: int) -> Traffic:
    """`count` events of mails of ours and some repeats, in signed posts of `size`.

    The same seed makes the same events, another one others.
    """
    chance = random.Random(seed)
    events = generate_events(count, seed)
    mails: dict[str, Mail] = {}
    for event in events:
        mail = mails.setdefault(event["anymail_id"], _mail(event, chance))
        event["anymail_id"] = str(mail.id)
    repeats = chance.sample(events, count * REPEATS // 100)
    comes = [(_comes_at(event, chance), event) for event in events]
    comes += [(_comes_at(event, chance) + chance.expovariate(1 / _AGAIN), event) for event in repeats]
    comes.sort(key=lambda one: one[0])
    posted = [event for _, event in comes]
    return Traffic(list(mails.values()), events, signed(sender, posted, size))


def signed(sender: WebhookSender, events: Sequence[Event | bytes], size: int) -> list[Post]:
    """Posts of `size` events."""
    bodies = [event_batch(events[at : at + size]) for at in range(0, len(events), size)]
    return [Post(body, sender.headers(body)) for body in bodies]


def send(url: str, posts: Sequence[Post]) -> None:
    """Post all, over a few connections that stay open. Raises RuntimeError where one is not taken."""
    shares = [posts[at::CONNECTIONS] for at in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: send_in_turn(url, share), shares))


def send_in_turn(url: str, posts: Iterable[Post]) -> None:
    """The same over one connection, each post as it comes."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port)
    for body, headers in posts:
        connection.request("POST", address.path, body, dict(headers))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered a post with {answer.status}")
    connection.close()


def _mail(event: Event, chance: random.Random) -> Mail:
    request, _, _ = event["sg_message_id"].partition(".")
    return Mail(uuid.UUID(int=chance.getrandbits(128)), event["email"], request)


def _comes_at(event: Event, chance: random.Random) -> float:
    later = _LATER.get(event["event"])
    return float(event["timestamp"]) + (chance.expovariate(1 / later) if later else 0)
