"""An event in one sentence for people."""

from collections.abc import Mapping
from typing import Any

from events_app.signals import RejectReason

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
