"""One SendGrid event object becomes one TrackingEvent, with a sentence for people; what maps to what is data.

`normalize` never raises: a word the tables do not know becomes "unknown" or "other", a value of a
wrong type counts as missing. docs/events.md shows the tables to users.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from events_app.decode import Unreadable, decode, event_id
from events_app.shared.database import clean
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

#: What is said of each event; "" is any event not named here.
SENTENCES = {
    "": "SendGrid reported an event of a kind not known here",
    "processed": "SendGrid took the message and will try to deliver it",
    "delivered": "The receiving server accepted the message",
    "deferred": "Delivery was put off and SendGrid will try again",
    "bounce": "The message bounced",
    "dropped": "SendGrid did not send the message",
    "open": "The message was opened",
    "click": "A link in the message was clicked",
    "spamreport": "The recipient reported the message as spam",
    "unsubscribe": "The recipient unsubscribed",
    "group_unsubscribe": "The recipient unsubscribed from a group of mail",
    "group_resubscribe": "The recipient subscribed to a group of mail again",
    "account_status_change": "SendGrid changed the status of the account",
    "received": "SendGrid received a request to send mail",
    "cancel_drop": "A scheduled message was cancelled before it was sent",
}
BOUNCE_SENTENCES = {
    RejectReason.BOUNCED: "The message bounced for good",
    RejectReason.BLOCKED: "The message was refused this time",
    RejectReason.TIMED_OUT: "SendGrid gave up after trying for too long",
    RejectReason.SPAM: "The message was refused for its content",
}
#: What `sg_machine_open` means, and all it means (Event Webhook Reference).
MACHINE_OPEN_SENTENCE = "Apple Mail Privacy Protection, not a person, opened the message"

#: The field a sentence ends with, and how.
DETAILS = {
    "": ("event", ": {}"),
    "bounce": ("bounce_classification", " ({})"),
    "dropped": ("reason", ": {}"),
    "deferred": ("attempt", " (attempt {})"),
    "account_status_change": ("type", ": {}"),
}
#: Room for any of SendGrid's own words, not for a mail server's answer.
MAX_DETAIL = 60


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


def describe(name: str, raw: Mapping[str, Any], reject_reason: RejectReason | None) -> str:
    """What happened, in one sentence that holds no address."""
    known = name if name in SENTENCES else ""
    sentence = SENTENCES[known]
    if known == "bounce" and reject_reason:
        sentence = BOUNCE_SENTENCES.get(reject_reason, sentence)
    elif known == "open" and raw.get("sg_machine_open") in (True, "true", "True"):
        sentence = MACHINE_OPEN_SENTENCE
    if known in DETAILS:
        field, form = DETAILS[known]
        detail = _detail(raw.get(field))
        sentence += form.format(detail) if detail else ""
    return sentence + "."


def _detail(value: object) -> str:
    """A foreign word or two, fit to stand in a sentence; none where an address might be among them."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = " ".join(str(value).split())
    if "@" in text:
        return ""
    # Printable is less than `clean` lets pass: no NUL and no surrogates, and nothing invisible.
    printable = text if text.isprintable() else "".join(filter(str.isprintable, text))
    return (printable if len(printable) <= MAX_DETAIL else printable[: MAX_DETAIL - 1] + "…").rstrip(".")
