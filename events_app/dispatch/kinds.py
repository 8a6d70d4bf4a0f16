"""The kinds of stored rows with receivers: events and inbound mails."""

from collections.abc import Callable
from typing import Any, NamedTuple

from events_app.models import AbstractPendingDelivery, PendingDelivery
from events_app.normalize import read_event
from events_app.signals import ReceiverSignal, tracking


class Kind(NamedTuple):
    """A kind of stored row: the model of its pending deliveries, its signal and its reader."""

    #: The word for a row in log lines and error texts.
    noun: str
    #: The management command that shows the row.
    command: str
    #: The model that holds its pending deliveries.
    pending_model: type[AbstractPendingDelivery]
    signal: ReceiverSignal
    #: Makes a new object for a receiver from a stored row.
    #: Raises Unreadable for malformed content, Unavailable when the content cannot be loaded now.
    read: Callable[[Any], Any]

    @property
    def log_field(self) -> str:
        """The field of a log line that has the row's id."""
        return self.noun.replace(" ", "_")


EVENTS = Kind("event", "events", PendingDelivery, tracking, lambda row: read_event(bytes(row.raw))[1])


class Unavailable(Exception):
    """Stored content cannot be loaded now, for the reason given. Retry later."""
