"""An inbound mail as receivers get it."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.generator import BytesGenerator
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import Policy
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import islice
from typing import Any, cast

from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.uploadedfile import SimpleUploadedFile

from events_app.inbound.text import addresses, decoding, headers, quotes
from events_app.inbound.text.decoding import decode as decode_text
from events_app.inbound.text.decoding import known
from events_app.shared.database import clean

#: Bytes of an uploaded file's name: file systems take 255.
LONGEST_NAME = 200

# Control characters, and those that turn the reading direction to make "exe.png" of "gnp.exe".
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_MESSAGE_ID = re.compile(r"<[^<>\s]+>")


class InboundMessage(EmailMessage):
    """A mail, or a part of one.

    The names and attributes are those of django-anymail's normalized inbound message, so that
    receivers written for it run here unchanged. None of them raises on malformed mail, and text
    comes as any database takes it.
    """

    #: The sender by the envelope; "" for delivery reports, None where SendGrid told none.
    envelope_sender: str | None = None
    spam_detected: bool | None = None
    spam_score: float | None = None
    #: What SendGrid found, such as "pass".
    spf: str | None = None
    #: The address that handed the mail to SendGrid.
    sender_ip: str | None = None

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy or POLICY)
        #: Whom SendGrid posts it for, by the envelope.
        self.envelope_recipients: list[str] = []
        #: What SendGrid found for each signing domain, such as "pass".
        self.dkim: dict[str, str] = {}

    @property
    def envelope_recipient(self) -> str | None:
        """The first of them."""
        return next(iter(self.envelope_recipients), None)

    # --- Headers ---

    @property
    def from_email(self) -> Address | None:
        """The first address in From, which anybody may have written there."""
        return next(addresses.read(headers.every(self, "From")), None)

    @property
    def to(self) -> list[Address]:
        return self.get_address_header("To")

    @property
    def cc(self) -> list[Address]:
        return self.get_address_header("Cc")

    @property
    def bcc(self) -> list[Address]:
        """Those in a Bcc header, which mail hardly ever has; the envelope knows who else got it."""
        return self.get_address_header("Bcc")

    @property
    def subject(self) -> str | None:
        found = self["Subject"]
        return None if found is None else headers.one_line(str(found))

    @property
    def date(self) -> datetime | None:
        """The time in Date, in its own time zone; UTC where it has none."""
        return self.get_date_header("Date")

    @property
    def message_id(self) -> str | None:
        """The text of Message-ID, which its sender chose; None where it is missing or empty."""
        return headers.one_line(headers.text(self, "Message-ID") or "") or None

    @property
    def in_reply_to(self) -> list[str]:
        """The message ids in In-Reply-To, in their <>."""
        return self._message_ids("In-Reply-To")

    @property
    def references(self) -> list[str]:
        """The message ids in References, in their <>: the oldest first."""
        return self._message_ids("References")

    def get_address_header(self, header: str) -> list[Address]:
        """The addresses in all headers of this name, the first `addresses.MOST`."""
        return list(islice(addresses.read(headers.every(self, header)), addresses.MOST))

    def get_date_header(self, header: str) -> datetime | None:
        """The time in a header; None where it is missing or none."""
        try:
            found = parsedate_to_datetime(str(self[header]))
            found.utcoffset()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def _message_ids(self, header: str) -> list[str]:
        return [
            clean(each) for value in headers.every(self, header) for each in _MESSAGE_ID.findall(str(value))
        ]

    # --- Bodies ---

    @property
    def text(self) -> str | None:
        """The first plain text that is no attachment and in no attached mail."""
        return _text_of(self._body("text/plain"))

    @property
    def html(self) -> str | None:
        """The first HTML that is no attachment and in no attached mail. Not to be trusted."""
        return _text_of(self._body("text/html"))

    @property
    def stripped_text(self) -> str | None:
        """`text` without the mail it answers, computed here: SendGrid sends nothing of the kind.

        It ends at the line that introduces a quoted or forwarded mail ("On ... wrote:"), in one of the
        languages that quotequail knows, and at ">" lines after which nothing follows. Where a quote is not
        found in the first 1,000 lines it is the whole text; where it comes first, "".
        """
        return _stripped(quotes.without_quotes, self.text)

    @property
    def stripped_html(self) -> str | None:
        """`html` without the mail it answers: as `stripped_text`. Over a million characters stay whole."""
        return _stripped(quotes.without_quotes_html, self.html)

    def _body(self, content_type: str) -> "InboundMessage | None":
        found = (part for part in _leaves(self) if part.get_content_type() == content_type)
        return next((part for part in found if not part.is_attachment()), None)

    # --- Parts ---

    @property
    def attachments(self) -> list["InboundMessage"]:
        """The attached files.

        With those that do not say how they are to be shown: an invitation, the parts of a delivery report.
        An attached mail is one attachment; its own are in its own message.
        """
        bodies = self._body("text/plain"), self._body("text/html")
        return [
            part for part in _leaves(self) if part.is_attachment() or part._is_loose(bodies, inline=False)
        ]

    @property
    def inlines(self) -> list["InboundMessage"]:
        """The parts that are shown within the body, such as images, in the order they come."""
        bodies = self._body("text/plain"), self._body("text/html")
        return [part for part in _leaves(self) if part.is_inline() or part._is_loose(bodies, inline=True)]

    @property
    def content_id_map(self) -> dict[str, "InboundMessage"]:
        """Those of `inlines` that `cid:` URLs in the HTML can name, by the content id without <>."""
        return {content_id: part for part in self.inlines if (content_id := part.content_id)}

    @property
    def inline_attachments(self) -> dict[str, "InboundMessage"]:
        """The older name of `content_id_map`."""
        return self.content_id_map

    @property
    def content_id(self) -> str | None:
        """This part's content id without <>."""
        return headers.one_line(headers.text(self, "Content-ID") or "").strip("<>") or None

    def is_attachment(self) -> bool:
        """Whether this part says that it is one."""
        return self.get_content_disposition() == "attachment"

    def is_inline(self) -> bool:
        """Whether this part says that it is shown within the body."""
        return self.get_content_disposition() == "inline"

    def _is_loose(self, bodies: tuple["InboundMessage | None", ...], *, inline: bool) -> bool:
        """Whether it does not say which, is none of the bodies, and is to be taken for the one asked for."""
        if self.is_attachment() or self.is_inline() or any(self is body for body in bodies):
            return False
        if self.get_content_type() in ("text/plain", "text/html") and self.get_filename() is None:
            return False  # another body, such as what a mailing list writes below
        return (self.content_id is not None) is inline

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        """A parameter of a header as text, without its quotes, in whatever way it is written."""
        return headers.parameters(self.get(header, "")).get(param.lower(), failobj)

    def get_params(self, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """The value of a header before its parameters, with "", and the parameters, as pairs of texts."""
        if header not in self:
            return failobj
        value, _, _ = str(self[header]).partition(";")
        return [(value.strip(), ""), *headers.parameters(self[header]).items()]

    def get_content_charset(self, failobj: Any = None) -> Any:
        """Python's name of the part's charset; `failobj` where the part names none that Python has."""
        return known(self.get_param("charset", "")) or failobj

    # --- Content ---

    def get_filename(self, failobj: Any = None) -> Any:
        """The name its sender gave the part, path and all, on one line. Not for use as a path."""
        found = headers.file_name(self)
        return failobj if found is None else found

    def get_content_bytes(self) -> bytes:
        """The content as it was before it was encoded for transfer. An attached mail's is its source."""
        return self._source() if self.is_multipart() else decoding.content(self)

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """As the standard library has it: the parts, or the content as bytes or text."""
        found = decoding.payload(self)
        if found is None or (found.isascii() and not decode):
            return super().get_payload(i, decode)  # type: ignore[call-overload]
        if decode:
            return decoding.content(self)
        return decode_text(found.encode("utf-8", "surrogateescape"), self.get_content_charset(""))

    def _source(self) -> bytes:
        """What is written of the parts in this one, in the line ends of each."""
        if self.get_content_maintype() == "message":
            return b"".join(part.as_bytes() for part in cast("list[InboundMessage]", self.get_payload()))
        _, _, source = self.as_bytes().partition(self.policy.linesep.encode() * 2)
        return source

    def get_content_text(self, charset: str | None = None, errors: str | None = None) -> str:
        """The content as text, in `charset` or the one the part names. Raises only what `errors` asks for."""
        named = charset or self.get_content_charset("")
        if errors is None:
            return decode_text(self.get_content_bytes(), named)
        return clean(self.get_content_bytes().decode(known(named) or "utf-8", errors))

    def get_content(self, *args: Any, content_manager: Any = None, **kwargs: Any) -> Any:
        """The content as the standard library gives it, a text as `get_content_text` does."""
        if content_manager is None and self.get_content_maintype() == "text":
            return self.get_content_text(None, *args, **kwargs)
        return super().get_content(*args, content_manager=content_manager, **kwargs)

    def as_bytes(self, unixfrom: bool = False, policy: Policy | None = None) -> bytes:
        """The source."""
        source = BytesIO()
        _Generator(source, mangle_from_=False, policy=policy or self.policy).flatten(self, unixfrom)
        return source.getvalue()

    def as_uploaded_file(self) -> SimpleUploadedFile:
        """The part as a form's upload would come, under a name that is safe in a file system."""
        name = _UNSAFE.sub("", re.split(r"[/\\]", self.get_filename(""))[-1]).strip(" .")
        return SimpleUploadedFile(
            _shortened(name) or "attachment", self.get_content_bytes(), content_type=self.get_content_type()
        )


class _Generator(BytesGenerator):
    """The standard library's, which makes a string of each line: 30 MB of empty ones took it a minute."""

    def _write_lines(self, lines: str) -> None:
        lines = lines.replace("\r\n", "\n").replace("\r", "\n")
        self.write(lines.replace("\n", self._NL))  # type: ignore[attr-defined]


#: Anymail's name for the same class.
AnymailInboundMessage = InboundMessage

#: How these messages are parsed and written. Lines of the source are kept as they are.
POLICY = headers.TolerantPolicy(utf8=True, refold_source="none", message_factory=InboundMessage)


def policy(budget: headers.Budget, linesep: str = "\n") -> Policy:
    """`POLICY` for a mail that comes in, and for all of its parts."""
    return POLICY.clone(budget=budget, linesep=linesep)  # type: ignore[call-arg]


def _leaves(part: InboundMessage) -> Iterator[InboundMessage]:
    """The parts with content, in their order; an attached mail is one."""
    if part.get_content_maintype() != "multipart":
        yield part
    elif part.is_multipart():
        for inner in cast("list[InboundMessage]", part.get_payload()):
            yield from _leaves(inner)


def _shortened(name: str) -> str:
    """A file's name in as many bytes as a file system takes, with room for what a storage adds to it."""
    stem, dot, kind = name.rpartition(".")
    if not stem or len(kind.encode()) > 20:
        stem, dot, kind = name, "", ""
    room = LONGEST_NAME - len(f"{dot}{kind}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + kind


def _text_of(part: InboundMessage | None) -> str | None:
    return None if part is None else part.get_content_text()


def _stripped(strip: Callable[[str], str], text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return clean(strip(text))
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 (the parser of HTML raises many things)
        return text.rstrip()
