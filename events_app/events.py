"""The events that receivers get, with the names and attributes of django-anymail's.

A test makes an event as with Anymail: by keyword arguments, of which unknown ones are ignored. Every receiver
gets a separate event, so a receiver may change the event and give it attributes. Two events are equal if all
their attributes of the class are.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, nonmember
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # above this module
    from events_app.inbound.message import InboundMessage


class EventType(StrEnum):
    """The type of an event. SendGrid never reports SENT, FAILED or AUTORESPONDED."""

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
    #: The `event_type` of an `InboundEvent`. No tracking event has these types.
    INBOUND = nonmember("inbound")
    INBOUND_FAILED = nonmember("inbound_failed")


class RejectReason(StrEnum):
    """The reason of a BOUNCED or REJECTED event."""

    INVALID = "invalid"
    BOUNCED = "bounced"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    SPAM = "spam"
    UNSUBSCRIBED = "unsubscribed"
    OTHER = "other"


_EVENT_TYPES: dict[str, Any] = {kind.value: kind for kind in EventType}
_REJECT_REASONS: dict[str | None, Any] = {reason.value: reason for reason in RejectReason}


# `__init__` is not dataclass's, which would refuse unknown arguments.
@dataclass(init=False)
class TrackingEvent:
    """SendGrid's report about a message to a recipient."""

    #: An `EventType`, equal to its text ("bounced").
    event_type: EventType
    #: The id in `message.anymail_status` after sending; None if the event has no id.
    message_id: str | None
    #: The time of the event (not of the post), in UTC; None if unreadable.
    timestamp: datetime | None
    #: SendGrid's `sg_event_id`, byte for byte; None on some events.
    event_id: str | None
    #: The recipient's bare address.
    recipient: str | None
    #: The message's own metadata, without any of SendGrid's fields.
    metadata: dict[str, Any]
    #: The message's tags (SendGrid: categories).
    tags: list[str]
    #: Set on BOUNCED and REJECTED events, None on all others.
    reject_reason: RejectReason | None
    #: One sentence for people.
    description: str | None
    #: The receiving mail server's own words, untouched.
    mta_response: str | None
    #: The mail program or browser of the person who opened, clicked or unsubscribed.
    user_agent: str | None
    #: The clicked link; None except on CLICKED events.
    click_url: str | None
    #: SendGrid's event object as it came.
    esp_event: dict[str, Any]

    def __init__(  # noqa: PLR0913 (an argument for each attribute)
        self,
        *,
        event_type: EventType | str,
        message_id: str | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
        recipient: str | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        reject_reason: RejectReason | str | None = None,
        description: str | None = None,
        mta_response: str | None = None,
        user_agent: str | None = None,
        click_url: str | None = None,
        esp_event: dict[str, Any] | None = None,
        **_: object,
    ) -> None:
        # A text of a test, as Anymail takes, becomes the member; a text that is none stays.
        self.event_type = _EVENT_TYPES.get(event_type, event_type)
        self.message_id = message_id
        self.timestamp = timestamp
        self.event_id = event_id
        self.recipient = recipient
        self.metadata = {} if metadata is None else metadata
        self.tags = [] if tags is None else tags
        self.reject_reason = _REJECT_REASONS.get(reject_reason, reject_reason)
        self.description = description
        self.mta_response = mta_response
        self.user_agent = user_agent
        self.click_url = click_url
        self.esp_event = {} if esp_event is None else esp_event


@dataclass(init=False)
class InboundEvent:
    """An inbound mail."""

    #: The mail. None only in an event that a test has made.
    message: "InboundMessage"
    #: Always "inbound".
    event_type: str
    #: Made by this app. Unique to the mail, and the same in every call of a receiver. None only in an event
    #: that a test has made.
    event_id: str | None
    #: When the webhook accepted the mail, in UTC. None only in an event that a test has made.
    timestamp: datetime | None
    #: If the mail is a reply to a message of ours: the message's id, as in `anymail_status`. None if not, or
    #: unknown.
    answers: str | None
    #: On a duplicate: the `event_id` of the first post of the mail. None on the first post.
    duplicate_of: str | None
    #: The posted fields as text, without the raw mail and without files.
    esp_event: dict[str, Any]

    def __init__(  # noqa: PLR0913 (an argument for each attribute)
        self,
        *,
        message: "InboundMessage | None" = None,
        event_type: str = "inbound",
        event_id: str | None = None,
        timestamp: datetime | None = None,
        answers: str | None = None,
        duplicate_of: str | None = None,
        esp_event: dict[str, Any] | None = None,
        **_: object,
    ) -> None:
        # As with Anymail, the event of a test may have no message.
        self.message = message  # type: ignore[assignment]
        self.event_type = event_type
        self.event_id = event_id
        self.timestamp = timestamp
        self.answers = answers
        self.duplicate_of = duplicate_of
        self.esp_event = {} if esp_event is None else esp_event


#: Anymail's names for the same classes.
AnymailTrackingEvent = TrackingEvent
AnymailInboundEvent = InboundEvent
