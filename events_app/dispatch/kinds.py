"""The kinds of things that come in, are stored, and are delivered to receivers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from events_app.models import AbstractPendingDelivery, PendingDelivery
from events_app.normalize import read
from events_app.signals import ReceiverSignal, tracking


class Kind(NamedTuple):
    """A kind of thing that comes in, is stored, and is delivered to receivers."""

    #: One of it, for people.
    noun: str
    #: The model that holds its pending deliveries.
    pending_model: type[AbstractPendingDelivery]
    signal: ReceiverSignal
    #: What receivers get, made of the row that is kept: a new object each time.
    #: Raises Unreadable where there is nothing to make it of, Unavailable where that cannot be had now.
    read: Callable[[Any], Any]


EVENTS = Kind("event", PendingDelivery, tracking, lambda row: read(bytes(row.raw))[1])


class Unavailable(Exception):
    """What was kept cannot be had just now; says why. To be tried again."""


class Delivery(NamedTuple):
    """One pending delivery that a worker has leased."""

    pk: int
    #: As it is kept, an `Event` (a `NewEvent`, just after it was stored) or an `InboundMail`.
    row: Any
    #: What receivers get; None until somebody reads it.
    event: Any = None
    failures: int = 0
    worker_deaths: int = 0
    replay: bool = False
    #: As in `AbstractPendingDelivery`.
    receivers: Mapping[str, str] = {}

    @property
    def webhook(self) -> str:
        found: str = self.row.webhook
        return found
