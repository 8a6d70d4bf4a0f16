"""One SendGrid event object becomes one TrackingEvent; what maps to what is data.

`normalize` never raises: a word the tables do not know becomes "unknown" or "other", a value of a
wrong type counts as missing. docs/events.md shows the tables to users.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from events_app.decode import Unreadable, clean, decode, event_id
from events_app.describe import describe
from events_app.signals import MESSAGE_ID_ARG, EventType, RejectReason, TrackingEvent

EVENT_TYPES = {
    "processed": EventType.QUEUED,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "bounce": EventType.BOUNCED,
    "dropped": EventType.REJECTED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "spamreport": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "group_unsubscribe": EventType.UNSUBSCRIBED,
    "group_resubscribe": EventType.SUBSCRIBED,
}

DROP_REASONS = {
    "invalid": RejectReason.INVALID,
    "invalid address": RejectReason.INVALID,
    "unsubscribed address": RejectReason.UNSUBSCRIBED,
    "bounce": RejectReason.BOUNCED,
    "bounced address": RejectReason.BOUNCED,
    "blocked": RejectReason.BLOCKED,
    "expired": RejectReason.TIMED_OUT,
    "spam reporting address": RejectReason.SPAM,
    "spam content": RejectReason.SPAM,
}

BOUNCE_TYPES = {
    "bounce": RejectReason.BOUNCED,
    "blocked": RejectReason.BLOCKED,
    "expired": RejectReason.TIMED_OUT,
}

#: Asked before the type: it is the one classification that names the message as the cause.
BOUNCE_CLASSIFICATIONS = {"content": RejectReason.SPAM}

MTA_EVENTS = frozenset({"delivered", "deferred", "bounce"})

#: Not `received`: there it is the program that called SendGrid's API.
USER_AGENT_EVENTS = frozenset({"open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe"})

#: Custom arguments stand at the top level beside SendGrid's own keys, and lose to them (Event
#: Webhook Reference). So metadata is what these do not name: own on every event ...
OWN_PREFIX = "sg_"
# fmt: off
OWN_KEYS = {
    MESSAGE_ID_ARG,
    "asm_group_id", "attempt", "bounce_classification", "category", "cert_err", "email", "event", "ip",
    "marketing_campaign_id", "marketing_campaign_name", "marketing_campaign_split_id",
    "marketing_campaign_version", "mc_pod_id", "mc_stats", "newsletter", "nlvx_campaign_id",
    "nlvx_campaign_split_id", "nlvx_user_id", "phase_id", "pool", "post_type", "reason", "response",
    "send_at", "singlesend_id", "singlesend_name", "smtp-id", "status", "template_hash", "template_id",
    "template_version_id", "timestamp", "tls", "type", "url", "url_offset", "useragent",
}

#: ... and own on one event only. Elsewhere these are good names for metadata, and the user's.
OWN_KEYS_ON = {
    "dropped": {"message"},
    "deferred": {"from", "domain"},
    "unsubscribe": {"date", "reseller_id"},
    "received": {
        "api_key_id", "api_version", "client_ip", "protocol", "recipient_count", "recv_msgid", "reseller_id",
        "size", "v3_payload_details",
    },
}
# fmt: on
_ALL_OWN_KEYS_ON = {name: OWN_KEYS | keys for name, keys in OWN_KEYS_ON.items()}

#: Objects whose content is metadata. Not seen in SendGrid's traffic, but other code builds them.
NESTED_METADATA = ("unique_args", "custom_args")

#: From here on a timestamp is in milliseconds, as in a Single Send sample (Event Webhook
#: Reference): in seconds this is the year 5138, in milliseconds 1973.
FIRST_MILLISECOND = 10**11

_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?")


def read(raw: bytes) -> tuple[dict[str, Any], TrackingEvent]:
    """The object in a posted element's bytes, and the event it is; raises Unreadable, and nothing else."""
    try:
        found = decode(raw)
        return found, normalize(found)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 (a fault of ours would hold its neighbours for ever)
        why = f"Reading it failed: {type(error).__name__}."
    raise Unreadable(why)


def normalize(raw: dict[str, Any]) -> TrackingEvent:
    """The event in `raw`, an object that `decode` returned."""
    name = _word(raw.get("event"))
    reject_reason = _reject_reason(name, raw)
    return TrackingEvent(
        event_type=EVENT_TYPES.get(name, EventType.UNKNOWN),
        message_id=_text(raw.get(MESSAGE_ID_ARG)) or _stripped(raw.get("smtp-id")),
        timestamp=_timestamp(raw.get("timestamp")),
        event_id=_text(event_id(raw)),
        recipient=_stripped(raw.get("email")),
        metadata=_metadata(name, raw),
        tags=_tags(raw.get("category")),
        reject_reason=reject_reason,
        description=describe(name, raw, reject_reason),
        # For deferrals the field table has `reason`, the sample `response` (Event Webhook Reference).
        mta_response=(_text(raw.get("response")) or _text(raw.get("reason"))) if name in MTA_EVENTS else None,
        user_agent=_text(raw.get("useragent")) if name in USER_AGENT_EVENTS else None,
        click_url=_text(raw.get("url")) if name == "click" else None,
        esp_event=raw,
    )


def _word(value: object) -> str:
    # One of SendGrid's samples capitalises an event's name (Event Webhook Reference).
    return value.strip().lower() if isinstance(value, str) else ""


def _text(value: object) -> str | None:
    return (clean(value) or None) if isinstance(value, str) else None


def _stripped(value: object) -> str | None:
    return (clean(value).strip() or None) if isinstance(value, str) else None


def _timestamp(value: object) -> datetime | None:
    if isinstance(value, str):
        digits = _DIGITS.fullmatch(value.strip())
        value = float(digits[0]) if digits else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    try:
        return datetime.fromtimestamp(value if value < FIRST_MILLISECOND else value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _tags(category: object) -> list[str]:
    # Sent as a string, it comes back as a string (Event Webhook Reference).
    if isinstance(category, str):
        return [clean(category)] if category else []
    if isinstance(category, list):
        return [clean(str(tag)) for tag in category if tag is not None]
    return []


def _reject_reason(name: str, raw: Mapping[str, Any]) -> RejectReason | None:
    if name == "bounce":
        return _bounce_reason(raw)
    if name == "dropped":
        # `reason` first: `type` may be a custom argument.
        known = DROP_REASONS.get(_word(raw.get("reason"))) or DROP_REASONS.get(_word(raw.get("type")))
        return known or RejectReason.OTHER
    return None


def _bounce_reason(raw: Mapping[str, Any]) -> RejectReason:
    classified = BOUNCE_CLASSIFICATIONS.get(_word(raw.get("bounce_classification")))
    if classified:
        return classified
    kind = raw.get("type")
    if kind is None or kind == "":  # as "Test Your Integration" posts it
        return RejectReason.BOUNCED
    return BOUNCE_TYPES.get(_word(kind), RejectReason.OTHER)


def _metadata(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    own = _ALL_OWN_KEYS_ON.get(name, OWN_KEYS)
    found = {key: value for key, value in raw.items() if key not in own and key[:3] != OWN_PREFIX}
    nested = [found.pop(key) for key in NESTED_METADATA if isinstance(found.get(key), dict)]
    for inner in nested:
        found = _metadata(name, inner) | found
    return found
