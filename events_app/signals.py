"""What the world sees: the normalized events, their vocabulary, and the signals that carry them.

The names and attributes are those of django-anymail's normalized tracking and inbound APIs, so that
receivers written for it run here unchanged.
"""

import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import async_to_sync
from django.dispatch import Signal

if TYPE_CHECKING:  # inbound mail stands above this: it sends these signals
    from events_app.inbound.message import InboundMessage

#: The `esp_name` every receiver is called with.
ESP_NAME = "SendGrid"

#: The custom argument that carries our message id to SendGrid and back in every event.
#: Anymail's name, so that events of mail it sent keep their ids here.
MESSAGE_ID_ARG = "anymail_id"


class NamedReceiver(NamedTuple):
    """A connected receiver and the name its failures are recorded under."""

    name: str
    call: Callable[..., object]


class ReceiverSignal(Signal):
    """A signal whose receivers have names, so that one can be called again without the others.

    A receiver's name is its `dispatch_uid`, else its module and qualified name.
    """

    def connect(
        self,
        receiver: Callable[..., object],
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
    ) -> None:
        """Connect as Django does.

        Raises ValueError where the receiver has no name of its own: nothing could tell
        its failures from those of the receiver that has the name already.
        """
        name = _name(receiver, dispatch_uid)
        for taken, other, _, _ in self._connected():
            # The same function again under its dispatch_uid is Django's own way to say
            # "once only" (ready() called twice, a module imported by two paths).
            again = other == receiver or (dispatch_uid is not None and _path(other) == _path(receiver))
            if taken == name and not again:
                raise ValueError(
                    f"Another receiver is connected under the name {name!r}. "
                    "Give this one a name of its own: connect(..., dispatch_uid='...')."
                )
        super().connect(receiver, sender=sender, weak=weak, dispatch_uid=dispatch_uid)

    def named_receivers(self, sender: object) -> list[NamedReceiver]:
        """The living receivers for `sender` in the order they were connected, one per name."""
        named = {
            name: NamedReceiver(name, async_to_sync(target) if is_async else target)  # type: ignore[arg-type]
            for name, target, wanted, is_async in self._connected()
            if wanted in (id(None), id(sender))
        }
        return list(named.values())

    def _connected(self) -> Iterator[tuple[str, Callable[..., object], int, bool]]:
        # `Signal.receivers` is documented in its docstring as internal: Django 5.2 keeps
        # (key, receiver, is_async), 6.1 (key, receiver, sender, is_async). A test on both
        # grounds tells when that changes.
        for (uid, sender_id), ref, *_, is_async in self.receivers:
            target = ref() if isinstance(ref, weakref.ReferenceType) else ref
            if target is not None:
                named_by_django = uid in (id(target), _bound_id(target))
                yield _name(target, None if named_by_django else uid), target, sender_id, is_async


def _bound_id(receiver: Callable[..., object]) -> tuple[int, int] | None:
    if hasattr(receiver, "__func__"):
        return id(receiver.__self__), id(receiver.__func__)  # type: ignore[attr-defined]
    return None


def _path(receiver: Callable[..., object]) -> str | None:
    qualname = getattr(receiver, "__qualname__", None)
    return f"{receiver.__module__}.{qualname}" if qualname else None


def _name(receiver: Callable[..., object], dispatch_uid: Hashable | None) -> str:
    name = _path(receiver) if dispatch_uid is None else str(dispatch_uid)
    if not name:
        raise ValueError(
            f"{type(receiver).__name__} objects have no name a failure could be recorded under: "
            "connect this receiver with dispatch_uid='...'."
        )
    return name


class EventType(StrEnum):
    """What happened to a message. SendGrid never reports SENT, FAILED or AUTORESPONDED."""

    QUEUED = "queued"
    SENT = "sent"
    REJECTED = "rejected"
    FAILED = "failed"
    BOUNCED = "bounced"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    AUTORESPONDED = "autoresponded"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    UNKNOWN = "unknown"


class RejectReason(StrEnum):
    """Why a BOUNCED or REJECTED event happened."""

    INVALID = "invalid"
    BOUNCED = "bounced"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    SPAM = "spam"
    UNSUBSCRIBED = "unsubscribed"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingEvent:
    """One thing that happened to one message for one recipient, as SendGrid reported it.

    Every receiver gets an object of its own: what one does to `metadata`, `tags` or
    `esp_event` no other one sees.
    """

    #: An `EventType`; compares equal to its plain text ("bounced").
    event_type: EventType
    #: The id `message.anymail_status` had after sending; None when SendGrid sent none back.
    message_id: str | None = None
    #: When it happened (not when it was posted), in UTC; None when unreadable.
    timestamp: datetime | None = None
    #: SendGrid's `sg_event_id`, byte for byte; None on some events.
    event_id: str | None = None
    #: The recipient's bare address.
    recipient: str | None = None
    #: The message's own metadata, without any of SendGrid's fields.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: The message's tags (SendGrid: categories).
    tags: list[str] = field(default_factory=list)
    #: Set on BOUNCED and REJECTED events, None on all others.
    reject_reason: RejectReason | None = None
    #: One sentence for people.
    description: str | None = None
    #: The receiving mail server's own words, untouched.
    mta_response: str | None = None
    #: The mail program or browser of whoever opened, clicked or unsubscribed.
    user_agent: str | None = None
    #: The link that was clicked; None on all but CLICKED events.
    click_url: str | None = None
    #: SendGrid's event object as it came.
    esp_event: dict[str, Any] = field(default_factory=dict)


#: Anymail's name for the same class.
AnymailTrackingEvent = TrackingEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundEvent:
    """One mail that SendGrid received for us. Every receiver gets an object of its own."""

    message: "InboundMessage"
    #: Ours: the same at every call for this mail, and no other mail's.
    event_id: str
    #: When the webhook took it, in UTC.
    timestamp: datetime
    event_type: str = "inbound"
    #: The id of our message that this one answers, as `anymail_status` and its events have it; None where
    #: that cannot be told, or it answers none.
    answers: str | None = None
    #: The `event_id` of the first post of the same mail: SendGrid has posted it before. None on that one.
    duplicate_of: str | None = None
    #: The fields SendGrid posted, as text, but for a raw mail itself and for files.
    esp_event: dict[str, Any] = field(default_factory=dict)


#: Anymail's name for the same class.
AnymailInboundEvent = InboundEvent


#: Sent by a worker, once for each stored event, to each receiver by itself.
#: Arguments: event (a `TrackingEvent`), esp_name ("SendGrid"). Sender: the webhook view class.
tracking = ReceiverSignal()

#: Sent by a worker, once for each inbound mail, to each receiver by itself.
#: Arguments: event (an `InboundEvent`), esp_name ("SendGrid"). Sender: the webhook view class.
inbound = ReceiverSignal()

#: Sent inside the transaction that stores some new events, once for all of them, before any receiver of
#: `tracking`. For what has to move together with the events; not for receivers of a project's own.
#: Arguments: events (a list of `TrackingEvent`), received_at (when the webhook took each of them, in the same
#: order, by the clock of Redis), using (the database's alias). What a receiver raises undoes the storing.
stored = Signal()

#: Asks which message of ours an inbound mail answers, when it is first read. Whoever keeps our messages
#: answers with an id, or with None.
#: Arguments: message (an `InboundMessage`).
answered = Signal()

#: The webhook view class behind each webhook's name, filled when the app is ready. A queued
#: event bears its webhook's name; a worker looks up the `sender` to call receivers with.
webhook_views: dict[str, type] = {}
