"""What stands once in a request, in SendGrid's words, from a message's attributes."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any

from django.utils.timezone import get_current_timezone, is_naive, make_aware

from events_app.signals import MESSAGE_ID_ARG
from sending_app.compose.addresses import parse
from sending_app.compose.defaults import Attributes
from sending_app.compose.plain import plain, text
from sending_app.compose.rules import Rules, is_time
from sending_app.exceptions import InvalidAddress, SerializationError, UnsupportedFeature
from sending_app.mail import Address

#: Mail Send Errors: so many different ones, of so many ASCII characters.
MAX_TAGS = 10
MAX_TAG_LENGTH = 255

#: Where a part of the content stands: SendGrid refuses another order (Mail Send Errors).
_ORDER = {"text/plain": 0, "text/html": 1}

#: Refused in `headers` (Mail Send Errors).
RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)

_header_name = re.compile(r"[!-9;-~]+")


def build(attributes: Attributes, content_subtype: str, rules: Rules) -> dict[str, Any]:
    """The request's body without recipients and attachments; nothing is in it that was not set."""
    if "envelope_sender" in attributes:
        rules.refuse("an envelope_sender of one message: it is set up with the account")
    special, rest = _special_headers(attributes, rules)
    found = {
        "from": _sender(special.get("from") or attributes.get("from_email"), rules),
        "reply_to_list": _reply_to(special.get("reply-to"), attributes.get("reply_to", []), rules),
        # Empty text would stand in the place of the template's (django-anymail issue 32).
        "subject": _subject(attributes.get("subject", "")),
        "content": _content(attributes, content_subtype, rules),
        "headers": checked_headers(rest, "headers", rules),
        "custom_args": custom_args(attributes.get("metadata", {}), "metadata", rules),
        "categories": _categories(attributes.get("tags", []), rules),
        "tracking_settings": _tracking(attributes),
        "send_at": _send_at(attributes.get("send_at")),
        "template_id": text(attributes.get("template_id", ""), "template_id"),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [], {})}


def custom_args(metadata: dict[str, Any], field: str, rules: Rules) -> dict[str, str]:
    """Metadata as text; raises SerializationError, and UnsupportedFeature where it has our id's name."""
    if rules.generate_message_id and MESSAGE_ID_ARG in metadata:
        raise UnsupportedFeature(
            f"{field}[{MESSAGE_ID_ARG!r}] has the name under which SendGrid brings our own id back: "
            "choose another, or set SENDGRID_GENERATE_MESSAGE_ID to False"
        )
    return {name: text(value, f"{field}[{name!r}]") for name, value in metadata.items()}


def _special_headers(attributes: Attributes, rules: Rules) -> tuple[dict[str, Any], dict[str, Any]]:
    """The headers that fields of the request are made of, by lower name, and the others."""
    found = by_lower_name(attributes.get("extra_headers", {}))
    names = found.keys() & {"reply-to", "from", "to"}
    special = {name: found.pop(name)[1] for name in names}
    if special.get("from"):
        rules.refuse('a "From" header, since from_email would then be the envelope\'s: set from_email alone')
    if special.get("to"):
        rules.refuse('a "To" header other than the recipients ("spoofing")')
    return special, dict(found.values())


def _sender(written: Any, rules: Rules) -> Address:
    senders = parse([written], "from_email", rules.idna)
    if not senders:
        raise InvalidAddress("There is no address in from_email")
    if len(senders) > 1:
        rules.refuse("several addresses in from_email")
    return senders[0].address


def _reply_to(header: Any, attribute: list[Any], rules: Rules) -> list[Address]:
    # The header wins, as with Django's own backends.
    field = 'headers["Reply-To"]' if header else "reply_to"
    found = parse([header] if header else attribute, field, rules.idna)
    return list({one.wire.casefold(): one.address for one in found}.values())  # each but once (Overview)


def _subject(value: Any) -> str:
    found = text(value, "subject")
    # Django's own backends refuse it too: whoever wrote that may have meant to add a header.
    if "\n" in found or "\r" in found:
        raise UnsupportedFeature("The subject has a line break; a header has one line")
    return found


def _content(attributes: Attributes, content_subtype: str, rules: Rules) -> list[dict[str, str]]:
    body = (attributes.get("body", ""), f"text/{content_subtype}")
    found = [
        {"type": _type(mimetype, rules), "value": _value(value, mimetype)}
        for value, mimetype in [body, *attributes.get("alternatives", [])]
    ]
    # Empty ones are an error, or make SendGrid render the wrong part of a template (anymail issue 32).
    return sorted((part for part in found if part["value"]), key=lambda part: _ORDER.get(part["type"], 2))


def _type(mimetype: Any, rules: Rules) -> str:
    found, *parameters = re.split(r"[;\r\n]", str(mimetype))
    if parameters:
        rules.refuse(f"parameters in the type of an alternative ({str(mimetype)!r})")
    return found.strip().lower()


def _value(value: Any, mimetype: Any) -> str:
    field = f"The {mimetype} content"
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            value = None
    if value is None:
        raise SerializationError(f"{field} is not text")
    return text(plain(value, field), field)


def _categories(tags: Iterable[Any], rules: Rules) -> list[str]:
    found = list(dict.fromkeys(text(tag, "tags") for tag in tags))
    if len(found) > MAX_TAGS:
        rules.refuse(f"more than {MAX_TAGS} tags")
    if not all(tag.isascii() and len(tag) <= MAX_TAG_LENGTH for tag in found):
        rules.refuse(f"a tag that is not ASCII, or longer than {MAX_TAG_LENGTH} characters")
    return found


def _tracking(attributes: Attributes) -> dict[str, Any]:
    found = {}
    for name, setting in (("track_clicks", "click_tracking"), ("track_opens", "open_tracking")):
        value = attributes.get(name)
        if value is None:
            continue
        if not isinstance(value, bool):
            raise SerializationError(f"{name} is {value!r}; it takes True and False")
        found[setting] = {"enable": value}
    return found


def _send_at(value: Any) -> int | None:
    """Seconds from 1970; a time without a zone, and a date's midnight, in Django's current one."""
    if value is None:
        return None
    seconds = _seconds(value)
    if not is_time(seconds):
        raise SerializationError(
            "send_at is in no year between 2 and 9998; a number is of seconds since 1970, not milliseconds"
        )
    return int(seconds)


def _seconds(value: Any) -> float:
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time())
        return (make_aware(moment, get_current_timezone()) if is_naive(moment) else moment).timestamp()
    # An int may be too large for isfinite.
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not number:
        raise SerializationError(f"send_at is {value!r}; it takes a datetime, a date, or a number of seconds")
    return value  # type: ignore[no-any-return]


def by_lower_name(headers: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Each header once, whatever its case: the last one stands."""
    return {name.lower(): (name, value) for name, value in headers.items()}


def checked_headers(headers: Mapping[str, Any], field: str, rules: Rules) -> dict[str, str]:
    """The headers as text, without those SendGrid refuses; raises UnsupportedFeature, SerializationError."""
    found = {}
    for lower, (name, value) in by_lower_name(headers).items():
        written = text(value, f"{field}[{name!r}]")
        if why := _header_fault(lower, written):
            rules.refuse(f"{field}[{name!r}]: {why}")
        else:
            found[name] = written
    return found


def _header_fault(name: str, value: str) -> str:
    if name in RESERVED_HEADERS:
        return "it sets this header itself"
    if not _header_name.fullmatch(name):
        return "a header's name is ASCII without spaces and colons"
    return "a header has one line" if "\n" in value or "\r" in value else ""
