"""What the world sees: the normalized events, their vocabulary, and the signals that carry them.

The names and attributes are those of django-anymail's normalized tracking and inbound APIs, so that
receivers written for it run here unchanged.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.dispatch import Signal

from events_app.inbound.message import InboundMessage
from events_app.receivers import ReceiverSignal

#: The `esp_name` every receiver is called with.
ESP_NAME = "SendGrid"

#: The custom argument that carries our message id to SendGrid and back in every event.
#: Anymail's name, so that events of mail it sent keep their ids here.
MESSAGE_ID_ARG = "anymail_id"


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

    message: InboundMessage
    #: Ours: the same at every call for this mail, and no other mail's.
    event_id: str
    #: When the door took it, in UTC.
    timestamp: datetime
    event_type: str = "inbound"
    #: The id of our message that this one answers, as `anymail_status` and its events have it; None where
    #: that cannot be told, or it answers none.
    answers: str | None = None
    #: The `event_id` of the first post of the same mail: SendGrid has posted it before. None on that one.
    repeat_of: str | None = None
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

#: The webhook view class behind each door's name, filled when the app is ready. A queued
#: event bears its door's name; a worker looks up the `sender` to call receivers with.
doors: dict[str, type] = {}
