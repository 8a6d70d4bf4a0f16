"""Build the content that a request has once, in SendGrid's format, from a message's attributes."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from django.utils.functional import Promise
from django.utils.timezone import get_current_timezone, is_naive, make_aware

from events_app.shared import own_events
from events_app.shared.addresses import comparable
from events_app.signals import MESSAGE_ID_ARG
from sending_app.compose.addresses import parse_addresses
from sending_app.compose.attributes import Attributes, Rules
from sending_app.compose.media_type import CALENDAR, REDUNDANT, parse_media_type
from sending_app.compose.plain import as_text, control_characters, plain
from sending_app.exceptions import InvalidAddress, SerializationError, UnsupportedFeature
from sending_app.mail import Address

#: Limits of distinct tags, and of their ASCII characters (Mail Send Errors).
MAX_TAGS = 10
MAX_TAG_LENGTH = 255

#: Order of alternatives, and then all others. SendGrid refuses HTML before text, and most other types before
#: either (Mail Send Errors). AMP belongs between: some programs show the last alternative (SendGrid's page
#: "Google AMP for Email").
_ORDER = {"text/plain": 0, "text/x-amp-html": 1, "text/html": 2}

#: A year inside datetime's range, so that arithmetic and any time zone stay in range.
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2, 9999))

#: Refused in `headers` (Mail Send Errors).
RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)

_header_name = re.compile(r"[!-9;-~]+")


def build_body(attributes: Attributes, content_subtype: str, rules: Rules) -> dict[str, Any]:
    """Build the request's body without recipients and attachments. Unset attributes add no field."""
    if "envelope_sender" in attributes:
        rules.refuse("an envelope_sender of one message: it is set up with the account")
    special, headers = _special_headers(attributes, rules)
    reply_to = special.get("reply-to")
    fields = {
        "from": _sender(special.get("from") or attributes.get("from_email"), rules),
        # The header wins, as with Django's own backends.
        "reply_to_list": _distinct([reply_to], 'headers["Reply-To"]', rules)
        if reply_to
        else _distinct(attributes.get("reply_to", []), "reply_to", rules),
        # Empty text would override the template's text (django-anymail issue 32).
        "subject": _subject(attributes.get("subject", "")),
        "content": _content(attributes, content_subtype, rules),
        "headers": checked_headers(headers, "headers", rules),
        "custom_args": custom_args(attributes.get("metadata", {}), "metadata", rules),
        "categories": _categories(attributes.get("tags", []), rules),
        "tracking_settings": _tracking(attributes),
        "send_at": _send_at(attributes.get("send_at")),
        "template_id": as_text(attributes.get("template_id", ""), "template_id"),
    }
    return {name: content for name, content in fields.items() if content not in ("", None, [], {})}


def custom_args(metadata: dict[str, Any], field: str, rules: Rules) -> dict[str, str]:
    """Metadata as text. Raises SerializationError, and UnsupportedFeature for a name that is ours."""
    if rules.generate_message_id and MESSAGE_ID_ARG in metadata:
        raise UnsupportedFeature(
            f"{field}[{MESSAGE_ID_ARG!r}] has the name under which SendGrid returns our own id: "
            "choose another, or set SENDGRID_GENERATE_MESSAGE_ID to False"
        )
    if own_events.MARK in metadata:
        # SendGrid returns metadata in each event.
        raise UnsupportedFeature(
            f"{field}[{own_events.MARK!r}] has the name that marks events of this package: choose another"
        )
    return {name: as_text(written, f"{field}[{name!r}]") for name, written in metadata.items()}


def _special_headers(attributes: Attributes, rules: Rules) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split off the headers that become fields of the request, by lower name."""
    headers = by_lower_name(attributes.get("extra_headers", {}))
    names = headers.keys() & {"reply-to", "from", "to"}
    special = {name: headers.pop(name)[1] for name in names}
    if special.get("from"):
        rules.refuse('a "From" header, since from_email would then be the envelope\'s: set from_email alone')
    if special.get("to"):
        rules.refuse('a "To" header other than the recipients ("spoofing")')
    return special, dict(headers.values())


def _sender(written: Any, rules: Rules) -> Address:
    senders = parse_addresses([written], "from_email", rules.idna, sender=True)
    if not senders:
        raise InvalidAddress("There is no address in from_email")
    if len(senders) > 1:
        rules.refuse("several addresses in from_email")
    return senders[0].address


def _distinct(written: list[Any], field: str, rules: Rules) -> list[Address]:
    # SendGrid refuses duplicates in reply_to_list (Mail Send Overview).
    mailboxes = parse_addresses(written, field, rules.idna)
    return list({comparable(mailbox.wire): mailbox.address for mailbox in mailboxes}.values())


def _subject(written: Any) -> str:
    subject = as_text(written, "subject")
    # Django's own backends refuse a line break too: the text may be an attempt to add a header.
    if control_characters.search(subject):
        raise UnsupportedFeature(
            "The subject has a line break or another control character; a header has one line of text"
        )
    return subject


def _content(attributes: Attributes, content_subtype: str, rules: Rules) -> list[dict[str, str]]:
    body = (attributes.get("body", ""), f"text/{content_subtype}")
    alternatives = []
    for alternative in [body, *attributes.get("alternatives", [])]:
        if not isinstance(alternative, tuple | list) or len(alternative) != 2:
            raise SerializationError(
                f"alternatives holds a {type(alternative).__name__}; it takes (content, type)"
            )
        content, mimetype = alternative
        written = str(mimetype) if isinstance(mimetype, str | Promise) else ""
        media_type = parse_media_type(written)
        if media_type is None:
            raise SerializationError(f"The type of an alternative is {written!r}, which is not a MIME type")
        kept = {"method"} if media_type.name == CALENDAR else set()
        if lost := sorted(media_type.parameters.keys() - REDUNDANT - kept):
            rules.refuse(f"the parameter {lost[0]!r} in the type of an alternative ({written!r})")
        # An empty alternative is an error, or SendGrid renders the template's wrong part (anymail issue 32).
        if text := _content_text(content, media_type.name):
            alternatives.append(
                {"type": media_type.for_sendgrid("The type of an alternative"), "value": text}
            )
    return sorted(alternatives, key=lambda alternative: _ORDER.get(alternative["type"], len(_ORDER)))


def _content_text(content: Any, media_type: str) -> str:
    field = f"The {media_type} content"
    if isinstance(content, bytes):
        try:
            return content.decode()
        except UnicodeDecodeError:
            content = None
    # Not in the handler: the UnicodeDecodeError has the content, and would become the context of this error.
    if content is None:
        raise SerializationError(f"{field} is not text")
    return as_text(plain(content, field), field)


def _categories(tags: Iterable[Any], rules: Rules) -> list[str]:
    categories = list(dict.fromkeys(as_text(tag, "tags") for tag in tags))
    if len(categories) > MAX_TAGS:
        rules.refuse(f"more than {MAX_TAGS} tags")
    if not all(tag.isascii() and tag.isprintable() and 0 < len(tag) <= MAX_TAG_LENGTH for tag in categories):
        rules.refuse(
            "a tag that is not ASCII, has control characters, is empty, or is longer than "
            f"{MAX_TAG_LENGTH} characters"
        )
    return categories


def _tracking(attributes: Attributes) -> dict[str, Any]:
    settings = {}
    for name, setting in (("track_clicks", "click_tracking"), ("track_opens", "open_tracking")):
        enable = attributes.get(name)
        if enable is None:
            continue
        if not isinstance(enable, bool):
            raise SerializationError(f"{name} is {enable!r}; it takes True and False")
        settings[setting] = {"enable": enable}
    return settings


def _send_at(written: Any) -> int | None:
    """Seconds since 1970. A date means midnight; a time without a zone is in Django's current zone."""
    if written is None:
        return None
    if isinstance(written, date):
        moment = written if isinstance(written, datetime) else datetime.combine(written, time())
        seconds = (make_aware(moment, get_current_timezone()) if is_naive(moment) else moment).timestamp()
    # An int may be too large for isfinite.
    elif isinstance(written, bool) or not (
        isinstance(written, int) or (isinstance(written, float) and math.isfinite(written))
    ):
        shown = repr(written) if isinstance(written, str | float) else f"a {type(written).__name__}"
        raise SerializationError(f"send_at is {shown}; it takes a datetime, a date, or a number of seconds")
    else:
        seconds = written
    if not is_time(seconds):
        raise SerializationError(
            "send_at is in no year between 2 and 9998; a number is of seconds since 1970, not milliseconds"
        )
    return int(seconds)


def is_time(seconds: float) -> bool:
    """Whether the seconds since 1970 are in the years 2 to 9998: milliseconds are not."""
    return _EARLIEST <= seconds < _LATEST


def by_lower_name(headers: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Headers by lower name. Of names that differ only in case, the last header wins."""
    return {name.lower(): (name, content) for name, content in headers.items()}


def checked_headers(headers: Mapping[str, Any], field: str, rules: Rules) -> dict[str, str]:
    """Headers as text. Raises SerializationError, and UnsupportedFeature for headers SendGrid refuses."""
    checked = {}
    for lower, (name, written) in by_lower_name(headers).items():
        where = f"{field}[{name!r}]"
        header = as_text(written, where)
        if lower in RESERVED_HEADERS:
            rules.refuse(f"{where}: it sets this header itself")
        elif not _header_name.fullmatch(lower):
            rules.refuse(f"{where}: a header's name is ASCII without spaces and colons")
        elif control_characters.search(header):
            rules.refuse(f"{where}: a header has one line, without control characters")
        else:
            checked[name] = header
    return checked
