"""Make files for SendGrid from the attachments of a Django message."""

import mimetypes
import re
from collections.abc import Iterable
from email.message import EmailMessage as Email
from email.message import Message
from email.utils import make_msgid
from typing import Any

from django.core.mail import EmailMessage
from django.utils.functional import Promise

from sending_app.compose.attributes import Rules
from sending_app.exceptions import SerializationError
from sending_app.mail import AttachedFile

#: Django's type of an unknown file.
UNKNOWN_TYPE = "application/octet-stream"

#: Size of the outbox's column.
MAX_FILENAME = 255

# SendGrid refuses line breaks and semicolons in names and ids (Mail Send Errors).
_bad = re.compile(r"[;\x00-\x1f\x7f\ud800-\udfff]+")


def read_attachments(attachments: Iterable[Any], rules: Rules) -> list[AttachedFile]:
    """Read `message.attachments`. Raises SerializationError, and UnsupportedFeature for an empty file."""
    files = [read_attachment(attachment) for attachment in attachments]
    for file in files:
        if not file.content:  # a template does not fill files either
            rules.refuse(f"an empty attachment ({file.filename!r}): leave it out, or put something into it")
    return files


def read_attachment(attachment: Any) -> AttachedFile:
    """Read an entry of `message.attachments`. Raises SerializationError."""
    if isinstance(attachment, Message):
        return _from_mime(attachment)
    filename, content, mimetype = (
        str(field) if isinstance(field, Promise) else field for field in (*attachment, None, None)[:3]
    )
    declared = mimetype or mimetypes.guess_type(filename or "")[0] or UNKNOWN_TYPE
    header = Email()
    try:
        header["Content-Type"] = declared
    except ValueError:  # a line break
        header["Content-Type"] = UNKNOWN_TYPE
    media_type, charset = header.get_content_type(), str(header.get_content_charset("utf-8"))
    file = _bytes(content, filename)
    if media_type.startswith("text/"):
        file, media_type = _in_utf8(file, "utf-8" if isinstance(content, str) else charset, media_type)
    return AttachedFile(content=file, filename=_filename(filename, media_type), type=media_type)


def _from_mime(entity: Message) -> AttachedFile:
    media_type = entity.get_content_type()
    if entity.is_multipart():
        # An attached mail is the first child. Any other multipart has no bytes but the whole entity.
        source = entity.get_payload(0) if entity.get_content_maintype() == "message" else entity
        file = source.as_bytes()  # type: ignore[union-attr]
    else:
        payload = entity.get_payload(decode=True)
        file = payload if isinstance(payload, bytes) else b""
        if media_type.startswith("text/"):
            file, media_type = _in_utf8(file, entity.get_content_charset() or "utf-8", media_type)
    filename = _filename(entity.get_filename(), media_type)
    disposition = entity.get_content_disposition()
    content_id = _bad.sub("", str(entity.get("Content-ID", ""))).strip(" <>") or None
    if disposition == "inline":
        content_id = content_id or make_msgid("inline", "inline")[1:-1]
    elif disposition is not None:
        content_id = None  # no inline file
    return AttachedFile(content=file, filename=filename, type=media_type, content_id=content_id)


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


def _in_utf8(text: bytes, charset: str, media_type: str) -> tuple[bytes, str]:
    """Text in UTF-8, because SendGrid takes no charset. Undecodable text becomes an unknown type."""
    try:
        return text.decode(charset).encode(), media_type
    except (UnicodeError, LookupError):
        return text, UNKNOWN_TYPE


def _filename(written: str | None, media_type: str) -> str:
    name = _bad.sub("_", str(written or "").strip())
    if not name:
        return f"attachment{mimetypes.guess_extension(media_type) or '.bin'}"
    # Keep the end: programs choose by the extension.
    return name[-MAX_FILENAME:]
