"""Make files for SendGrid from the attachments of a Django message."""

import mimetypes
import re
from collections.abc import Iterable
from email.message import Message
from email.utils import make_msgid
from typing import Any

import django
from django.core.mail import EmailMessage
from django.core.mail import message as django_message
from django.utils.functional import Promise

from sending_app.compose.attributes import Rules
from sending_app.compose.media_type import MediaType, parse_media_type
from sending_app.compose.plain import CONTROL
from sending_app.exceptions import MailError, SerializationError
from sending_app.mail import AttachedFile

#: Django's type of an unknown file.
UNKNOWN_TYPE = "application/octet-stream"

#: Sizes of the outbox's columns, in characters.
MAX_FILENAME = MAX_CONTENT_ID = 255

# SendGrid refuses line breaks and semicolons in names and ids (Mail Send Errors).
_bad = re.compile(rf"[;\t{CONTROL}\ud800-\udfff]+")


def read_attachments(attachments: Iterable[Any], rules: Rules) -> list[AttachedFile]:
    """Read `message.attachments`. Raises SerializationError, and UnsupportedFeature for an empty file."""
    files = [read_attachment(attachment) for attachment in attachments]
    for file in files:
        if not file.content:  # a template does not fill files either
            rules.refuse(f"an empty attachment ({file.filename!r}): leave it out, or put something into it")
    return files


def read_attachment(attachment: Any) -> AttachedFile:
    """Read an entry of `message.attachments`. Raises SerializationError."""
    try:
        return _from_mime(attachment) if isinstance(attachment, Message) else _from_tuple(attachment)
    except MailError:
        raise
    except Exception as error:  # noqa: BLE001 (a part that the standard library cannot write fails in many ways)
        why = f"An attachment cannot be read: {type(error).__name__}"
    # Not in the handler: a UnicodeError has the content, and would become the context of this error.
    raise SerializationError(why)


def _from_tuple(attachment: Any) -> AttachedFile:
    if not isinstance(attachment, tuple | list) or len(attachment) not in (2, 3):
        raise SerializationError(
            f"attachments holds a {type(attachment).__name__}; it takes (filename, content, type) "
            "and MIME parts"
        )
    filename, content, mimetype = (
        str(field) if isinstance(field, Promise) else field for field in (*attachment, None)[:3]
    )
    for field, written in (("filename", filename), ("type", mimetype)):
        if not isinstance(written, str | None):
            raise SerializationError(f"The {field} of an attachment is a {type(written).__name__}, not text")
    # "./": `guess_type` takes some names for a URL, and raises for some URLs.
    is_mail = isinstance(content, EmailMessage | Message)
    declared = mimetype or mimetypes.guess_type(f"./{filename or ''}")[0]
    declared = declared or ("message/rfc822" if is_mail else UNKNOWN_TYPE)
    media_type = _file_type(declared)
    file = _bytes(content, filename)
    if media_type.name.startswith("text/"):
        charset = "" if isinstance(content, str) else media_type.parameters.get("charset", "")
        file, media_type = _in_utf8(file, charset, media_type)
    return AttachedFile(
        content=file,
        filename=_filename(filename or media_type.parameters.get("name"), media_type.name),
        type=media_type.for_sendgrid(f"The type of the attachment {filename!r}"),
    )


def _file_type(declared: str) -> MediaType:
    media_type = parse_media_type(declared)
    # A multipart means nothing without its boundary (RFC 2046, 5.1.1), and SendGrid takes no boundary.
    if media_type is None or media_type.name.startswith("multipart/"):
        return MediaType(UNKNOWN_TYPE, {})
    return media_type


def _from_mime(entity: Message) -> AttachedFile:
    media_type = _file_type(str(entity.get("Content-Type") or entity.get_default_type()))
    if entity.is_multipart():
        # An attached mail is the first child. Any other multipart has no bytes but the whole entity.
        source = entity.get_payload(0) if entity.get_content_maintype() == "message" else entity
        file = _written(source)
    else:
        payload = entity.get_payload(decode=True)
        file = payload if isinstance(payload, bytes) else b""
        if media_type.name.startswith("text/"):
            file, media_type = _in_utf8(file, media_type.parameters.get("charset", ""), media_type)
    filename = _filename(entity.get_filename(), media_type.name)
    disposition = entity.get_content_disposition()
    content_id = _bad.sub("", str(entity.get("Content-ID", ""))).strip(" <>") or None
    if disposition == "inline":
        content_id = content_id or make_msgid("inline", "inline")[1:-1]
    elif disposition is not None:
        content_id = None  # no inline file
    if content_id is not None and len(content_id) > MAX_CONTENT_ID:
        raise SerializationError(
            f"The Content-ID of the attachment {filename!r} has {len(content_id)} characters; "
            f"up to {MAX_CONTENT_ID} fit"
        )
    return AttachedFile(
        content=file,
        filename=filename,
        type=media_type.for_sendgrid(f"The type of the attachment {filename!r}"),
        content_id=content_id,
    )


def _bytes(content: Any, filename: str | None) -> bytes:
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    if isinstance(content, EmailMessage):
        return _written(content.message())
    if isinstance(content, Message):
        return _written(content)
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    raise SerializationError(f"The attachment {filename!r} is a {type(content).__name__}, not text or bytes")


def _written(mail: Any) -> bytes:
    """A mail as a file, with the line ends of mail (RFC 5322, 2.1), as Django's SMTP backend sends it."""
    if django.VERSION < (6, 0) and isinstance(mail, django_message.MIMEMixin):
        return bytes(mail.as_bytes(linesep="\r\n"))  # these messages take no policy
    return bytes(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))


def _in_utf8(text: bytes, charset: str, media_type: MediaType) -> tuple[bytes, MediaType]:
    """Text in UTF-8, because SendGrid takes no charset. Undecodable text becomes an unknown type."""
    try:
        return text.decode(charset or "utf-8").encode(), media_type
    except (ValueError, LookupError):  # ValueError: a NUL in the charset's name
        return text, MediaType(UNKNOWN_TYPE, {})


def _filename(given_name: str | None, media_type: str) -> str:
    name = _bad.sub("_", str(given_name or "").strip())
    if not name:
        return f"attachment{mimetypes.guess_extension(media_type) or '.bin'}"
    # Keep the end: programs choose by the extension.
    return name[-MAX_FILENAME:]
