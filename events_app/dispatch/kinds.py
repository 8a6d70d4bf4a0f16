"""The kinds of things that come in, are kept, and are owed to receivers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from events_app.models import Owing, Work
from events_app.normalize import read
from events_app.signals import ReceiverSignal, tracking


class Kind(NamedTuple):
    """A kind of thing that comes in, is kept, and is owed to receivers."""

    #: One of it, for people.
    noun: str
    #: Where it stands what is owed.
    work: type[Owing]
    signal: ReceiverSignal
    #: What receivers get, made of the row that is kept: a new object each time.
    #: Raises Unreadable where there is nothing to make it of, Unavailable where that cannot be had now.
    read: Callable[[Any], Any]


EVENTS = Kind("event", Work, tracking, lambda row: read(bytes(row.raw))[1])


class Unavailable(Exception):
    """What was kept cannot be had just now; says why. To be tried again."""


class Owed(NamedTuple):
    """One thing that receivers are owed."""

    pk: int
    #: As it is kept, an `Event` (a `NewEvent`, just after it was stored) or an `InboundMail`.
    row: Any
    #: What receivers get; None until somebody reads it.
    event: Any = None
    failures: int = 0
    lapses: int = 0
    replay: bool = False
    #: As in `Owing`.
    receivers: Mapping[str, str] = {}

    @property
    def door(self) -> str:
        found: str = self.row.door
        return found
