"""What a posted form says: the mail, the plain fields, and the key that all posts of one mail share."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from json import dumps
from typing import Any

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.parse import fields_mode, mime
from events_app.inbound.parse.form import SOURCES, Fields, Form, json_object
from events_app.inbound.text.headers import one_line

#: The fields that are the mail itself. Not what SendGrid found out about it (SPF, dkim, spam, sender_ip),
#: which another look may find otherwise.
_CONTENT = (*SOURCES, "headers", "from", "to", "cc", "subject", "text", "html")
_CONTENT_OBJECTS = ("attachment-info", "content-ids", "charsets", "envelope")

# "{@example.org : pass, @example.com : fail}", which looks like JSON and is not.
_DKIM = re.compile(r"(?<![^\s@:{},])([^\s@:{},]++)\s*:\s*([^\s{},]+)")

# "Content analysis details:   (0.9 points, 5.0 required)", as SpamAssassin writes it.
_SPAM_DETAILS = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?) points?, \s*(-?\d{1,6}(?:\.\d{1,6})?) required\)")

#: Characters of a report that are looked at; the details come before what was found.
_LONGEST_SPAM_REPORT = 100_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One post of Inbound Parse, read."""

    message: InboundMessage
    #: The plain fields as text, without the mail's source: fit for a JSON column.
    fields: dict[str, str]
    #: The 16 bytes that all posts of one mail share.
    key: bytes


def read(form: Form) -> Reading:
    """The mail in the form, in either mode; raises `events_app.decode.Unreadable`."""
    fields = Fields(form)
    try:
        message = _message(form, fields)
    except (RecursionError, MemoryError):
        message = None
    # Outside the handler, so that the error which holds the mail does not hang on ours.
    if message is None:
        raise Unreadable("The mail takes more memory, or nests deeper, than can be read.")
    _tell(message, fields)
    return Reading(message, dict(fields), key(form))


def _message(form: Form, fields: Fields) -> InboundMessage:
    source = next((found for name in SOURCES if (found := form.fields.get(name))), None)
    if source:
        return mime.parse(source)
    if form.fields.get("headers"):
        return fields_mode.parse(form, fields)
    raise Unreadable(
        "The form has neither the field email nor the field headers: is it a post of Inbound Parse?"
    )


def _tell(message: InboundMessage, fields: Fields) -> None:
    """Tell the message what SendGrid knows of it."""
    envelope = _envelope(fields)
    message.envelope_sender, message.envelope_recipients = envelope
    message.spf = fields.line("SPF")
    message.sender_ip = fields.line("sender_ip")
    message.dkim = dict(_DKIM.findall(fields.get("dkim", "")[:10_000]))
    message.spam_score = spam_score(fields.get("spam_score"))
    headers = (str(message.get(name, "")) for name in ("X-Spam-Flag", "X-Spam-Status"))
    message.spam_detected = spam_detected(fields.get("spam_report"), *headers)


def _envelope(fields: Fields) -> tuple[str | None, list[str]]:
    """The sender and the recipients. A list of one is documented; longer ones and plain text occur."""
    envelope = fields.object("envelope")
    to = envelope.get("to")
    recipients = to if isinstance(to, list) else [to]
    sender = envelope.get("from")
    if sender is None and "from" in envelope:
        sender = ""
    addresses = [one_line(each) for each in recipients if isinstance(each, str)]
    return one_line(sender) if isinstance(sender, str) else None, [each for each in addresses if each]


def key(form: Form) -> bytes:
    """The same for all posts of one mail, another for any other mail or envelope.

    Of the mail's source or fields (Message-ID and all), its files and its envelope, whatever the order of
    the form's parts: SendGrid gives a post no id, and need not write a post it repeats the same way.
    """
    digest = blake2b(digest_size=16, person=b"sendgrid mail")
    for name, value in _facts(form):
        for part in (name, value):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return digest.digest()


def _facts(form: Form) -> Iterator[tuple[bytes, bytes]]:
    for name in _CONTENT:
        if name in form.fields:
            yield name.encode(), form.fields[name]
    for name in _CONTENT_OBJECTS:
        if name in form.fields:
            yield name.encode(), _canonical(form.fields[name])
    for name, file in sorted(form.files.items()):
        yield f"file {name}".encode("utf-8", "replace"), file.filename
        yield f"{file.content_type} {file.charset}".encode("utf-8", "replace"), file.content


def _canonical(value: bytes) -> bytes:
    """A JSON object whatever the order of its keys; anything else as it is."""
    found: dict[str, Any] = json_object(value)
    return dumps(found, sort_keys=True).encode() if found else value


def spam_score(text: str | None) -> float | None:
    """The number in `spam_score`; None where there is none, or none that is finite."""
    try:
        found = float((text or "")[:50])
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def spam_detected(report: str | None, flag: str | None = None, status: str | None = None) -> bool | None:
    """Whether it is spam: by the points in `spam_report`, else by X-Spam-Flag and X-Spam-Status.

    None where none of them says. Anybody may write these headers, so SendGrid's report comes first.
    """
    found = _SPAM_DETAILS.search((report or "")[:_LONGEST_SPAM_REPORT])
    if found:
        return float(found[1]) >= float(found[2])
    for header in (flag, status):
        word = re.match(r"\s*(yes|no)\b", header or "", re.IGNORECASE)
        if word:
            return word[1].lower() == "yes"
    return None
