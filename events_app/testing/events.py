"""Events as SendGrid posts them, for tests. Fields and values: Twilio docs, "Event Webhook Reference"."""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from events_app.normalize import EVENT_TYPES, normalize
from events_app.signals import MESSAGE_ID_ARG, EventType, RejectReason, TrackingEvent

# Of several names for a type, the first.
_NAMES = {event_type: name for name, event_type in reversed(EVENT_TYPES.items())}

_PERSON = {"ip": "203.0.113.7", "useragent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"}

_FIELDS: dict[str, dict[str, Any]] = {
    "delivered": {"response": "250 2.0.0 OK", "ip": "198.51.100.4", "tls": 1},
    "deferred": {"response": "451 4.7.1 Try again later", "attempt": "1", "ip": "198.51.100.4", "tls": 1},
    "open": {**_PERSON, "sg_machine_open": False, "sg_content_type": "html"},
    "click": {**_PERSON, "url": "https://example.com/", "url_offset": {"index": 0, "type": "html"}},
    "group_resubscribe": {**_PERSON, "asm_group_id": 1},
}

_REASONS: dict[str, dict[RejectReason, dict[str, Any]]] = {
    "bounce": {
        RejectReason.BOUNCED: {
            "type": "bounce",
            "status": "5.1.1",
            "bounce_classification": "Invalid Address",
            "reason": "550 5.1.1 The mailbox does not exist",
        },
        RejectReason.BLOCKED: {
            "type": "blocked",
            "status": "5.7.1",
            "bounce_classification": "Reputation",
            "reason": "554 5.7.1 The sender is blocked",
        },
        RejectReason.SPAM: {
            "type": "blocked",
            "status": "5.7.1",
            "bounce_classification": "Content",
            "reason": "554 5.7.1 The message looks like spam",
        },
        RejectReason.TIMED_OUT: {
            "type": "expired",
            "status": "4.4.7",
            "bounce_classification": "Unclassified",
            "reason": "unable to get mx info",
        },
    },
    "dropped": {
        RejectReason.BOUNCED: {"reason": "Bounced Address"},
        RejectReason.INVALID: {"reason": "Invalid"},
        RejectReason.SPAM: {"reason": "Spam Reporting Address"},
        RejectReason.UNSUBSCRIBED: {"reason": "Unsubscribed Address"},
        RejectReason.OTHER: {"reason": "Recipient List over Package Quota"},
    },
}


def raw_event(  # noqa: PLR0913 (what tests of receivers set)
    event_type: EventType | str = EventType.DELIVERED,
    *,
    recipient: str = "ann@example.org",
    message_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    reject_reason: RejectReason | str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The object that SendGrid posts for an event of this type, with an id of its own.

    `message_id` is the id in `anymail_status`; without one, an id of no message. `reject_reason` is for
    BOUNCED and REJECTED events. `fields` are SendGrid's own fields, such as `url` or `timestamp`.
    Raises ValueError for a type or a reason that SendGrid never reports.
    """
    event_type = EventType(event_type)
    name = fields.get("event") or _NAMES.get(event_type)
    if name is None:
        raise ValueError(f"SendGrid posts no event of the type {event_type.value!r}.")
    reasons = _REASONS.get(name, {})
    reason = next(iter(reasons), None) if reject_reason is None else RejectReason(reject_reason)
    if reason is not None and reason not in reasons:
        known = ", ".join(reasons) or "none"
        raise ValueError(f"SendGrid's {name!r} has no reject_reason {reason.value!r}; known: {known}.")
    base = uuid4().hex[:22]
    return {
        # SendGrid posts the values of metadata as text. Its own fields win.
        **{key: str(value) for key, value in (metadata or {}).items()},
        MESSAGE_ID_ARG: message_id or str(uuid4()),
        "email": recipient,
        "timestamp": int(time.time()),
        "event": name,
        "smtp-id": f"<{base}@geopod-ismtpd-1>",
        "sg_event_id": uuid4().hex,
        "sg_message_id": f"{base}.recvd-5d8f9c7b6-x2x9k-1-66A01B2C-1.0",
        # SendGrid also posts a single tag as a text.
        **({"category": tags if isinstance(tags, str) else list(tags)} if tags else {}),
        **(reasons[reason] if reason is not None else _FIELDS.get(name, {})),
        **fields,
    }


def tracking_event(event_type: EventType | str = EventType.DELIVERED, **arguments: Any) -> TrackingEvent:
    """The event that a receiver gets for the `raw_event` with the same arguments."""
    return normalize(raw_event(event_type, **arguments))
