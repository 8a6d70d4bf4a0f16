"""Mails made of headers, texts and files: by posts of parsed mode, and by tests of receivers."""

import re
from base64 import b64decode, encodebytes
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.parser import HeaderParser
from email.policy import Policy
from typing import IO, Any, Self, TypeVar, cast
from urllib.parse import quote

from events_app.decode import Unreadable
from events_app.inbound.mime.bounds import Taken
from events_app.inbound.mime.tree import read_attached, read_source
from events_app.inbound.part import Part
from events_app.inbound.text.encoded_words import one_line

_TYPE = re.compile(r"(?!multipart/)[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)

# RFC 5322, 2.2.
_HEADER_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]+")

#: The text of a header with addresses, or addresses.
_Addresses = str | Address | Iterable[str | Address]

_Mail = TypeVar("_Mail", bound=Part)


class ConstructibleMessage(Part):
    """A message with django-anymail's constructors, for tests of receivers.

    They take the same arguments, and make the mail as a post in parsed mode does.
    """

    @classmethod
    def construct(  # noqa: PLR0913, PLR0917 (as django-anymail's)
        cls,
        raw_headers: str | None = None,
        from_email: _Addresses | None = None,
        to: _Addresses | None = None,
        cc: _Addresses | None = None,
        bcc: _Addresses | None = None,
        subject: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        text: str | None = None,
        text_charset: str = "utf-8",
        html: str | None = None,
        html_charset: str = "utf-8",
        attachments: Sequence[Self] | None = None,
    ) -> Self:
        """A mail of these headers, texts and results of `construct_attachment`.

        `from_email`, `to`, `cc`, `bcc` and `subject` are the text of a header, or addresses, and replace that
        header in `raw_headers`; `headers` are added. Content-* headers are made from the texts and
        attachments. Raises ValueError for a name that no header has, LookupError for an unknown charset, and
        UnicodeEncodeError for text that the charset lacks.
        """
        message = cls()
        parser = HeaderParser(policy=cast("Policy", message.policy))
        with_headers(message, parser.parsestr(raw_headers or ""))
        named = {"From": from_email, "To": to, "Cc": cc, "Bcc": bcc, "Subject": subject}
        for name, header_text in named.items():
            if header_text is not None:
                del message[name]
                addresses = [header_text] if isinstance(header_text, str | Address) else header_text
                set_header(message, name, ", ".join(map(str, addresses)))
        added = headers.items() if isinstance(headers, Mapping) else headers or ()
        for name, header_text in added:
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"No header can have the name {name!r}.")
            if not _is_of_content(name):
                set_header(message, name, header_text)
        bodies = [
            text_part(cls(), subtype, content, charset=charset)
            for subtype, content, charset in (("plain", text, text_charset), ("html", html, html_charset))
            if content is not None
        ]
        inlines: list[Self] = []
        attached: list[Self] = []
        for file in attachments or ():
            is_shown = html is not None and file.get_content_disposition() == "inline"
            (inlines if is_shown else attached).append(file)
        return with_content(message, cls, bodies, inlines, attached)

    @classmethod
    def construct_attachment(  # noqa: PLR0913, PLR0917 (as django-anymail's)
        cls,
        content_type: str | None,
        content: bytes | str,
        charset: str | None = None,
        filename: str | None = None,
        content_id: str | None = None,
        base64: bool = False,
    ) -> Self:
        """A file for `construct`: `inline` with a content id, else attached.

        Text is encoded in `charset`, by default UTF-8. With `base64` the content is decoded first. A type
        that no file has, such as None or multipart/mixed, becomes application/octet-stream.
        Raises binascii.Error for malformed base64, and the errors of `construct` for the charset.
        """
        part = cls()
        encoded = content.encode(charset or "utf-8") if isinstance(content, str) else content
        if base64:
            encoded = b64decode(encoded)
        media_type, semicolon, parameters = (content_type or "").partition(";")
        # Of two parameters with a name, readers take the first.
        stated = f'; charset="{charset}"' if charset else ""
        describe_file(
            part,
            media_type + stated + semicolon + parameters,
            filename=filename or "",
            content_id=content_id or "",
            inline=content_id is not None,
        )
        fill(part, encoded)
        return part

    @classmethod
    def construct_attachment_from_uploaded_file(cls, file: Any, content_id: str | None = None) -> Self:
        """The same of one of Django's files, such as an `UploadedFile`."""
        return cls.construct_attachment(
            content_type=getattr(file, "content_type", None),
            content=file.read(),
            charset=getattr(file, "charset", None),
            filename=getattr(file, "name", None),
            content_id=content_id,
        )

    @classmethod
    def parse_raw_mime(cls, s: str) -> Self:
        """The mail with this source, read as the source of an inbound mail.

        Raises ValueError for a mail beyond the bounds, which would become a dead letter.
        """
        return cls.parse_raw_mime_bytes(s.encode("utf-8", "surrogateescape"))

    @classmethod
    def parse_raw_mime_bytes(cls, b: bytes) -> Self:
        """As `parse_raw_mime`."""
        return read_source(b, cls)

    @classmethod
    def parse_raw_mime_file(cls, fp: IO[bytes] | IO[str]) -> Self:
        """As `parse_raw_mime`, from a binary or a text file."""
        source = fp.read()
        return cls.parse_raw_mime(source) if isinstance(source, str) else cls.parse_raw_mime_bytes(source)


def set_header(part: EmailMessage, name: str, value: str) -> None:
    """Add a header without the parsing and folding of `part[name] = value`."""
    part.set_raw(*part.policy.header_source_parse([f"{name}: {one_line(str(value))}"]))


def with_headers(message: _Mail, head: Message) -> _Mail:
    """The message with the headers of `head`, without the headers of a content."""
    for name, source in head.raw_items():
        if not _is_of_content(name):
            message.set_raw(name, source)
    return message


def _is_of_content(name: str) -> bool:
    return name.lower() == "mime-version" or name.lower().startswith("content-")


def is_type_of_file(content_type: str) -> bool:
    """Whether the text is a media type, without parameters, that a single file may have."""
    return _TYPE.fullmatch(content_type) is not None


def text_part(part: _Mail, subtype: str, text: str, parameters: str = "", *, charset: str = "utf-8") -> _Mail:
    """The part as a body, with further parameters in Content-Type.

    Raises LookupError and UnicodeEncodeError for the charset.
    """
    set_header(part, "Content-Type", f'text/{subtype}; charset="{charset}"{parameters}')
    fill(part, text.encode(charset))
    return part


def describe_file(
    part: EmailMessage, content_type: str, *, filename: str, content_id: str, inline: bool
) -> None:
    """Set the headers of a file on the part. "" stands for a missing value."""
    media_type, semicolon, parameters = content_type.partition(";")
    if not is_type_of_file(media_type.strip()):
        media_type = "application/octet-stream"
    set_header(part, "Content-Type", media_type.strip() + semicolon + parameters)
    parameter = filename and "; filename*=utf-8''" + quote(one_line(filename), safe="")  # RFC 2231
    set_header(part, "Content-Disposition", ("inline" if inline else "attachment") + parameter)
    if content_id:
        set_header(part, "Content-ID", f"<{one_line(content_id).strip('<> ')}>")


def fill(part: Part, content: bytes, taken: Taken | None = None) -> None:
    """Set the part's content; `get_content_bytes` returns the same bytes.

    A message part gets the mail with this source, as in raw mode, but a mail beyond the bounds stays unread.
    `taken` is the use of the bounds so far.
    """
    if part.get_content_maintype() == "message":
        try:
            read_attached(part, content, taken)
        except Unreadable:
            pass
        else:
            return
    set_header(part, "Content-Transfer-Encoding", "base64")
    part.set_payload(encodebytes(content).decode("ascii"))


def with_content(
    message: _Mail,
    new: Callable[[], _Mail],
    bodies: Sequence[_Mail],
    inlines: Sequence[_Mail],
    attached: Sequence[_Mail],
) -> _Mail:
    """The message with bodies and files, structured as by mail programs. The last body shows the inlines."""
    if inlines:
        bodies = [*bodies[:-1], _multipart(new(), "related", [bodies[-1], *inlines])]
    body = [_multipart(new(), "alternative", bodies)] if bodies else []
    content = _multipart(new(), "mixed", [*body, *attached], always=not bodies)
    set_header(message, "MIME-Version", "1.0")
    for name, source in content.raw_items():
        message.set_raw(name, source)
    message.set_payload(content.get_payload())
    return message


def _multipart(part: _Mail, subtype: str, inner: Sequence[_Mail], *, always: bool = False) -> _Mail:
    """The part with these inner parts; a single inner part alone."""
    if len(inner) == 1 and not always:
        return inner[0]
    set_header(part, "Content-Type", f"multipart/{subtype}")
    part.set_payload([])
    for inner_part in inner:
        part.attach(inner_part)
    return part
