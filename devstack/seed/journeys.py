"""The ways of a mail to a recipient: the events that SendGrid posts, with the texts of mail servers."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
)


# Without __eq__: a step is a key of a dict, and `fields` have no hash.
@dataclass(frozen=True, eq=False)
class Step:
    """An event. `fields` are the fields beside ids, address and time."""

    event: str
    #: The type of the stored event.
    event_type: str
    #: Seconds after the step before, at least and at most.
    delay: tuple[float, float]
    fields: Mapping[str, Any]
    #: The recipient's status and its rank; empty for an engagement.
    status: str = ""
    rank: int = 0
    reject_reason: str = ""
    #: The column of the recipient with the time of the engagement.
    time_column: str = ""

    @cached_property
    def end_of_json(self) -> bytes:
        """The event's name and the fields: the end of an event's JSON."""
        return msgspec.json.encode({"event": self.event, **self.fields})[1:]


def _deferral(attempt: int, response: str) -> Step:
    fields = {"response": response, "attempt": str(attempt), "ip": "198.51.100.7", "tls": 1}
    return Step("deferred", "deferred", (2, 30) if attempt == 1 else (300, 3600), fields, "deferred", 3)


def _bounce(  # noqa: PLR0913, PLR0917 (the fields of a bounce)
    reject_reason: str,
    kind: str,
    status: str,
    classification: str,
    reason: str,
    delay: tuple[float, float] = (1, 40),
) -> Step:
    fields = {
        "type": kind,
        "status": status,
        "bounce_classification": classification,
        "reason": reason,
        "ip": "198.51.100.7",
        "tls": 1,
    }
    return Step("bounce", "bounced", delay, fields, "bounced", 6, reject_reason)


def _drop(reason: str, reject_reason: str) -> Step:
    return Step("dropped", "rejected", (0.2, 2), {"reason": reason}, "rejected", 5, reject_reason)


def _person(agent: int) -> dict[str, str]:
    return {"useragent": _AGENTS[agent], "ip": f"203.0.113.{agent + 9}"}


PROCESSED = Step("processed", "queued", (0.2, 2), {"send_at": 0}, "queued", 2)
DELIVERED = Step(
    "delivered",
    "delivered",
    (0.5, 12),
    {"response": "250 2.0.0 OK: queued as 4FqK2n0vZ3", "ip": "198.51.100.7", "tls": 1},
    "delivered",
    4,
)
LATE = Step("delivered", "delivered", (300, 5400), DELIVERED.fields, "delivered", 4)
OPENED = Step(
    "open",
    "opened",
    (60, 40_000),
    {**_person(0), "sg_machine_open": False, "sg_content_type": "html"},
    time_column="opened_at",
)
OPENED_BY_APPLE = Step(
    "open",
    "opened",
    (2, 90),
    {**_person(1), "sg_machine_open": True, "sg_content_type": "html"},
    time_column="opened_at",
)
CLICKED = Step(
    "click",
    "clicked",
    (3, 400),
    {**_person(2), "url": "https://shop.example/orders/", "url_offset": {"index": 0, "type": "html"}},
    time_column="clicked_at",
)
COMPLAINED = Step("spamreport", "complained", (600, 90_000), {}, time_column="complained_at")
UNSUBSCRIBED = Step("unsubscribe", "unsubscribed", (10, 600), _person(0), time_column="unsubscribed_at")

GREYLISTED = _deferral(1, "450 4.2.0 <recipient>: Recipient address rejected: Greylisted, try again in 300 s")
MAILBOX_FULL = _deferral(1, "452 4.2.2 The recipient's mailbox is full")
RATE_LIMITED = _deferral(1, "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume")
STILL_FULL = _deferral(2, "452 4.2.2 The recipient's mailbox is full")

NO_MAILBOX = _bounce(
    "bounced",
    "bounce",
    "5.1.1",
    "Invalid Address",
    "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the "
    "recipient's email address for typos or unnecessary spaces.",
)
NO_SUCH_USER = _bounce(
    "bounced",
    "bounce",
    "5.5.0",
    "Invalid Address",
    "550 5.5.0 Requested action not taken: mailbox unavailable",
)
DISABLED = _bounce(
    "bounced", "bounce", "5.2.1", "Mailbox Unavailable", "552 5.2.1 The mailbox is disabled (overQuota)"
)
NO_DOMAIN = _bounce(
    "bounced", "bounce", "5.1.2", "Invalid Address", "550 5.1.2 Host or domain name not found: NXDOMAIN"
)
LISTED = _bounce(
    "blocked",
    "blocked",
    "5.7.1",
    "Reputation",
    "554 5.7.1 Service unavailable; Client host [198.51.100.7] blocked using a DNS block list",
)
SPAM = _bounce(
    "spam",
    "blocked",
    "5.7.1",
    "Content",
    "550 5.7.1 Our system has detected that this message is likely spam",
)
TIMED_OUT = _bounce(
    "timed_out",
    "expired",
    "4.4.1",
    "Technical Failure",
    "unable to deliver a message to the recipient within 72 hours: connection timed out",
    (3 * 86_400, 3 * 86_400 + 600),
)
ASYNCHRONOUS = _bounce(
    "bounced", "bounce", "5.1.1", "Invalid Address", "550 5.1.1 User unknown in relay table", (600, 7200)
)
BOUNCED_BEFORE = _drop("Bounced Address", "bounced")
UNSUBSCRIBED_BEFORE = _drop("Unsubscribed Address", "unsubscribed")
INVALID = _drop("Invalid", "invalid")
COMPLAINED_BEFORE = _drop("Spam Reporting Address", "spam")

Journey = tuple[Step, ...]

#: Journeys of a mail to one person, with their weights. 97 % arrive.
_JOURNEYS: dict[Journey, int] = {
    (PROCESSED, DELIVERED): 5000,
    (PROCESSED, DELIVERED, OPENED): 2000,
    (PROCESSED, DELIVERED, OPENED_BY_APPLE): 900,
    (PROCESSED, DELIVERED, OPENED, OPENED): 300,
    (PROCESSED, DELIVERED, OPENED, CLICKED): 900,
    (PROCESSED, DELIVERED, OPENED, UNSUBSCRIBED): 40,
    (PROCESSED, DELIVERED, COMPLAINED): 12,
    (PROCESSED, GREYLISTED, LATE): 280,
    (PROCESSED, RATE_LIMITED, LATE, OPENED): 180,
    (PROCESSED, MAILBOX_FULL, STILL_FULL, LATE): 40,
    (PROCESSED, NO_MAILBOX): 90,
    (PROCESSED, NO_SUCH_USER): 50,
    (PROCESSED, DISABLED): 25,
    (PROCESSED, NO_DOMAIN): 15,
    (PROCESSED, LISTED): 30,
    (PROCESSED, SPAM): 10,
    (PROCESSED, MAILBOX_FULL, STILL_FULL, TIMED_OUT): 8,
    (PROCESSED, DELIVERED, ASYNCHRONOUS): 6,
    (BOUNCED_BEFORE,): 50,
    (UNSUBSCRIBED_BEFORE,): 20,
    (INVALID,): 6,
    (COMPLAINED_BEFORE,): 3,
}

_LIST, _WEIGHTS = list(_JOURNEYS), list(_JOURNEYS.values())

#: Events of a recipient on average.
AVERAGE_EVENTS = sum(len(journey) * weight for journey, weight in _JOURNEYS.items()) / sum(_WEIGHTS)


def choose_journeys(rng: random.Random, count: int) -> list[Journey]:
    return rng.choices(_LIST, _WEIGHTS, k=count)


class Progress(NamedTuple):
    """What events have made of a recipient: columns of `Recipient`."""

    status: str = "queued"
    rank: int = 0
    status_at: float | None = None
    reject_reason: str = ""
    opened_at: float | None = None
    clicked_at: float | None = None
    complained_at: float | None = None
    unsubscribed_at: float | None = None


class Taken(NamedTuple):
    """A step that has happened."""

    step: Step
    #: When the event happened, in whole seconds of Unix time.
    timestamp: int
    #: When the webhook received the event.
    received_at: float


def travel(rng: random.Random, journey: Journey, start: float, now: float) -> tuple[list[Taken], Progress]:
    """The steps of a journey that begins at `start`, as far as the webhook has received them by `now`."""
    taken: list[Taken] = []
    progress: dict[str, Any] = {}
    rank, at = 0, start
    for step in journey:
        low, high = step.delay
        # Most delays are short: the square of an even distribution.
        at += low + (high - low) * rng.random() ** 2
        received_at = at + 0.4 + 3 * rng.random()
        if received_at > now:
            break
        taken.append(Taken(step, int(at), received_at))
        if step.time_column:
            progress.setdefault(step.time_column, int(at))
        elif step.rank > rank:
            rank = step.rank
            progress |= {
                "status": step.status,
                "rank": rank,
                "status_at": int(at),
                "reject_reason": step.reject_reason,
            }
    return taken, Progress(**progress)
