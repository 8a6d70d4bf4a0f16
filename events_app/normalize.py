"""Turns SendGrid's event object into a TrackingEvent, by tables, and describes the event in a sentence.

`normalize` never raises: a word outside the tables becomes "unknown" or "other", and a value of a wrong type
counts as missing. docs/events.md shows the tables to users.
"""

from collections.abc import Mapping
from typing import Any

from events_app.decode import Unreadable, decode_object, event_id, happened_at
from events_app.shared import own_events
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

#: Looked up before the type: only this classification says that the message is the cause.
BOUNCE_CLASSIFICATIONS = {"content": RejectReason.SPAM}

MTA_EVENTS = frozenset({"delivered", "deferred", "bounce"})

#: Without `received`: its user agent is the program that called SendGrid's API.
USER_AGENT_EVENTS = frozenset({"open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe"})

#: Custom arguments stand at the top level beside SendGrid's own keys, and SendGrid's keys win (Event Webhook
#: Reference). So metadata is every key except SendGrid's own keys. One set for all events: SendGrid documents
#: `reseller_id` for some events and sends it on all (StrongGrid issue 491).
OWN_PREFIX = "sg_"
# fmt: off
OWN_KEYS = {
    MESSAGE_ID_ARG, own_events.MARK,
    "asm_group_id", "attempt", "bounce_classification", "category", "cert_err", "date", "domain", "email",
    "event", "from", "ip", "message", "newsletter", "phase_id", "pool", "post_type", "reason", "reseller_id",
    "response", "send_at", "singlesend_id", "singlesend_name", "smtp-id", "status", "template_hash",
    "template_id", "template_version_id", "timestamp", "tls", "type", "url", "url_offset", "useragent",
    # Of marketing mail. The names with "auto" are not documented; receivers of automations store them.
    "marketing_campaign_id", "marketing_campaign_name", "marketing_campaign_split_id",
    "marketing_campaign_version", "mc_auto_id", "mc_auto_msg_id", "mc_auto_name", "mc_auto_step_id",
    "mc_auto_unique_id", "mc_pod_id", "mc_stats", "nlvx_campaign_id", "nlvx_campaign_split_id",
    "nlvx_user_id",
    # Of `received`.
    "api_key_id", "api_version", "client_ip", "protocol", "recipient_count", "recv_msgid", "size",
    "v3_payload_details",
}
# fmt: on

#: Objects of metadata. Not seen in SendGrid's traffic, but some programs build such events.
NESTED_METADATA = ("unique_args", "custom_args")

#: The description of each event; "" stands for any unknown event.
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
#: A drop that is an event of ours.
SUPPRESSED_SENTENCE = "The recipient was left out of the mail"
#: The full meaning of `sg_machine_open` (Event Webhook Reference).
MACHINE_OPEN_SENTENCE = "Apple Mail Privacy Protection, not a person, opened the message"

#: The field at the end of a description, and the format.
DETAILS = {
    "": ("event", ": {}"),
    "bounce": ("bounce_classification", " ({})"),
    "dropped": ("reason", ": {}"),
    "deferred": ("attempt", " (attempt {})"),
    "account_status_change": ("type", ": {}"),
}
#: Enough characters for SendGrid's own words, but not for a mail server's answer.
MAX_DETAIL = 60


def read_event(raw: bytes) -> tuple[dict[str, Any], TrackingEvent]:
    """The JSON object in a posted element, and the TrackingEvent. Raises only Unreadable."""
    try:
        event = decode_object(raw)
        return event, normalize(event)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 (otherwise a bug here would block the other events of the entry)
        why = f"Reading it failed: {type(error).__name__}."
    raise Unreadable(why)


def normalize(raw: dict[str, Any]) -> TrackingEvent:
    """The TrackingEvent of `raw`, an object from `decode_object`."""
    name = _word(raw.get("event"))
    reject_reason = _reject_reason(name, raw)
    return TrackingEvent(
        event_type=EVENT_TYPES.get(name, EventType.UNKNOWN),
        message_id=_text(raw.get(MESSAGE_ID_ARG)) or _stripped(raw.get("smtp-id")),
        timestamp=happened_at(raw),
        event_id=_text(event_id(raw)),
        recipient=_stripped(raw.get("email")),
        metadata=_metadata(raw),
        tags=_tags(raw.get("category")),
        reject_reason=reject_reason,
        description=describe(name, raw, reject_reason),
        # SendGrid's table of fields gives deferrals a `reason`, the sample a `response` (Event Webhook
        # Reference).
        mta_response=(_text(raw.get("response")) or _text(raw.get("reason"))) if name in MTA_EVENTS else None,
        user_agent=_text(raw.get("useragent")) if name in USER_AGENT_EVENTS else None,
        click_url=_text(raw.get("url")) if name == "click" else None,
        esp_event=raw,
    )


def _word(value: object) -> str:
    """The value as a key of the tables."""
    # One of SendGrid's samples capitalises an event's name (Event Webhook Reference).
    return value.strip().lower() if isinstance(value, str) else ""


def _text(value: object) -> str | None:
    return (clean(value) or None) if isinstance(value, str) else None


def _stripped(value: object) -> str | None:
    return (clean(value).strip() or None) if isinstance(value, str) else None


def _tags(category: object) -> list[str]:
    # A category sent as a string comes back as a string (Event Webhook Reference).
    if isinstance(category, str):
        return [clean(category)] if category else []
    if isinstance(category, list):
        return [clean(str(tag)) for tag in category if tag is not None]
    return []


def _reject_reason(name: str, raw: Mapping[str, Any]) -> RejectReason | None:
    if name == "bounce":
        reason = BOUNCE_CLASSIFICATIONS.get(_word(raw.get("bounce_classification")))
        # "Test Your Integration" posts a bounce without a type.
        bounce_type = "bounce" if raw.get("type") in (None, "") else raw["type"]
        return reason or BOUNCE_TYPES.get(_word(bounce_type), RejectReason.OTHER)
    if name == "dropped":
        # `reason` first: `type` may be a custom argument.
        reason = DROP_REASONS.get(_word(raw.get("reason"))) or DROP_REASONS.get(_word(raw.get("type")))
        return reason or RejectReason.OTHER
    return None


def _metadata(raw: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: raw[key] for key in raw if key not in OWN_KEYS and key[:3] != OWN_PREFIX}
    if own_events.is_own(raw):
        metadata.pop(own_events.SCOPE, None)
    nested = [metadata.pop(key) for key in NESTED_METADATA if isinstance(metadata.get(key), dict)]
    for inner in nested:
        metadata = _metadata(inner) | metadata
    return metadata


def describe(name: str, raw: Mapping[str, Any], reject_reason: RejectReason | None) -> str:
    """A sentence about the event, without addresses."""
    known = name if name in SENTENCES else ""
    sentence = SENTENCES[known]
    if known == "bounce" and reject_reason:
        sentence = BOUNCE_SENTENCES.get(reject_reason, sentence)
    elif known == "dropped" and raw.get(own_events.MARK) == own_events.SUPPRESSED:
        sentence = SUPPRESSED_SENTENCE
    elif known == "open" and raw.get("sg_machine_open") in (True, "true", "True"):
        sentence = MACHINE_OPEN_SENTENCE
    if known in DETAILS:
        field, form = DETAILS[known]
        detail = _detail(raw.get(field))
        sentence += form.format(detail) if detail else ""
    return sentence + "."


def _detail(value: object) -> str:
    """A short text of SendGrid's, printable on a line; empty if an address may be in the text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = " ".join(str(value).split())
    if "@" in text:
        return ""
    # Stricter than `clean`: also without invisible characters.
    printable = text if text.isprintable() else "".join(filter(str.isprintable, text))
    return (printable if len(printable) <= MAX_DETAIL else printable[: MAX_DETAIL - 1] + "…").rstrip(".")
