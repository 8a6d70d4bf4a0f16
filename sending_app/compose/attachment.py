"""One attachment of a Django message becomes a file as SendGrid takes it."""

import mimetypes
import re
from email.message import EmailMessage as Email
from email.message import Message
from email.utils import make_msgid
from typing import Any

from django.core.mail import EmailMessage
from django.utils.functional import Promise

from sending_app.exceptions import SerializationError
from sending_app.mail import Attachment

#: What Django says of a file it knows nothing of.
UNKNOWN_TYPE = "application/octet-stream"

#: The outbox's columns hold so many characters.
MAX_FILENAME = 255

# SendGrid refuses line breaks and semicolons in names and ids (Mail Send Errors).
_bad = re.compile(r"[;\x00-\x1f\x7f\ud800-\udfff]+")


def read(attachment: Any) -> Attachment:
    """The file in an item of `message.attachments`; raises SerializationError."""
    if isinstance(attachment, Message):
        return _of_part(attachment)
    filename, content, mimetype = (
        str(one) if isinstance(one, Promise) else one for one in (*attachment, None, None)[:3]
    )
    declared = mimetype or mimetypes.guess_type(filename or "")[0] or UNKNOWN_TYPE
    kind, charset = _kind(declared)
    data = _bytes(content, filename)
    if kind.startswith("text/"):
        data, kind = _in_utf8(data, "utf-8" if isinstance(content, str) else charset, kind)
    return Attachment(content=data, filename=_filename(filename, kind), type=kind)


def _of_part(part: Message) -> Attachment:
    kind = part.get_content_type()
    if part.is_multipart():
        # A mail in a mail is the first of its parts; anything else of several has no bytes but its own.
        content = part.get_payload(0) if part.get_content_maintype() == "message" else part
        data = content.as_bytes()  # type: ignore[union-attr]
    else:
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if kind.startswith("text/"):
            data, kind = _in_utf8(data, part.get_content_charset() or "utf-8", kind)
    filename = _filename(part.get_filename(), kind)
    return Attachment(content=data, filename=filename, type=kind, content_id=_content_id(part))


def _content_id(part: Message) -> str | None:
    """None where the file is not to be shown inline."""
    disposition = part.get_content_disposition()
    given = _bad.sub("", str(part.get("Content-ID", ""))).strip(" <>")
    if disposition == "inline":
        return given or make_msgid("inline", "inline")[1:-1]
    return (given or None) if disposition is None else None


def _kind(declared: str) -> tuple[str, str]:
    """The type without its parameters, and its charset."""
    header = Email()
    try:
        header["Content-Type"] = declared
    except ValueError:  # a line break
        return UNKNOWN_TYPE, "utf-8"
    return header.get_content_type(), str(header.get_content_charset("utf-8"))


def _bytes(content: Any, filename: str | None) -> bytes:
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    if isinstance(content, EmailMessage):
        return bytes(content.message().as_bytes())
    if isinstance(content, Message):
        return content.as_bytes()
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    raise SerializationError(f"The attachment {filename!r} is a {type(content).__name__}, not text or bytes")


def _in_utf8(data: bytes, charset: str, kind: str) -> tuple[bytes, str]:
    """Text in UTF-8, since its charset cannot be said; what is no text, as bytes of no known type."""
    try:
        return data.decode(charset).encode(), kind
    except (UnicodeError, LookupError):
        return data, UNKNOWN_TYPE


def _filename(given: str | None, kind: str) -> str:
    name = _bad.sub("_", str(given or "").strip())
    if not name:
        return f"attachment{mimetypes.guess_extension(kind) or '.bin'}"
    # From the end, or it would lose what tells programs how to open it.
    return name if len(name) <= MAX_FILENAME else name[-MAX_FILENAME:]
