"""The object receivers get for an inbound mail."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.generator import BytesGenerator
from email.headerregistry import Address
from email.policy import Policy
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import islice
from typing import Any, cast

from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.uploadedfile import SimpleUploadedFile

from events_app.inbound.construct import ConstructibleMessage
from events_app.inbound.text import (
    addresses,
    cid_urls,
    decoding,
    domains,
    flowed,
    headers,
    parameters,
    quotes,
)
from events_app.inbound.text.decoding import decode as decode_text
from events_app.inbound.text.decoding import known
from events_app.inbound.text.encoded_words import one_line, words
from events_app.shared.database import clean

__all__ = [
    "AnymailInboundMessage",
    "InboundMessage",
]

#: The most bytes of an uploaded file's name: file systems allow 255.
LONGEST_NAME = 200

# Control characters, and characters reversing the reading direction, to show "gnp.exe" as "exe.png".
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# A content type that ends with its semicolon, or with a comma, a space or a comment in its place.
_CONTENT_TYPE = re.compile(r"\s*([^\s;,(/]+/[^\s;,(/]+)(?:[\s;,(]|\Z)")

_MESSAGE_ID = re.compile(r"<[^<>\s]+>")


class InboundMessage(ConstructibleMessage):
    """A mail, or a part of a mail.

    Names and attributes are as in django-anymail's normalized inbound message, so receivers written for
    Anymail run unchanged. No attribute raises on malformed mail, and any database accepts the text.
    """

    #: The sender in the envelope; "" for delivery reports, None if SendGrid named no sender.
    envelope_sender: str | None = None
    spam_detected: bool | None = None
    spam_score: float | None = None
    #: SendGrid's SPF result, such as "pass".
    spf: str | None = None
    #: The IP address of the server that delivered the mail to SendGrid.
    sender_ip: str | None = None

    _source: tuple[bytes, int, int] | None = None

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy or POLICY)
        #: The recipients in the envelope.
        self.envelope_recipients: list[str] = []
        #: SendGrid's DKIM result for each signing domain, such as "pass".
        self.dkim: dict[str, str] = {}

    @property
    def envelope_recipient(self) -> str | None:
        """The first of `envelope_recipients`. A set address becomes the only recipient."""
        return next(iter(self.envelope_recipients), None)

    @envelope_recipient.setter
    def envelope_recipient(self, address: str | None) -> None:
        self.envelope_recipients = [] if address is None else [address]

    # --- Headers ---

    @property
    def from_email(self) -> Address | None:
        """The first address in From. Senders can forge From: see `from_is_aligned`.

        `display_name` is the sender's text, perhaps another address.
        """
        return next(addresses.read(headers.sources(self, "From")), None)

    @property
    def from_is_aligned(self) -> bool | None:
        """Whether SPF or DKIM passed for the domain of `from_email`; None if SendGrid posted no result.

        As DMARC's relaxed alignment (RFC 7489, 3.1), but without a list of public suffixes and without the
        domain's DMARC policy: the domain in From must be equal to, above or below a domain in `dkim` with
        "pass", or the domain of `envelope_sender` when `spf` is "pass". Always False unless From is a single
        header with a single address.

        True means that a server of this domain sent the mail; any user of the domain may have written it.
        False proves no forgery: forwarding and mailing lists break SPF and DKIM.
        """
        if self.spf is None and not self.dkim:
            return None
        sources = list(headers.sources(self, "From"))
        authors = list(islice(addresses.read(sources), 2))
        if len(sources) != 1 or len(authors) != 1:
            return False
        passed = [domain for domain, result in self.dkim.items() if result.lower() == "pass"]
        if (self.spf or "").lower() == "pass":
            passed.append((self.envelope_sender or "").rpartition("@")[2].rstrip(">"))
        return any(domains.are_aligned(authors[0].domain, domain) for domain in passed)

    @property
    def to(self) -> list[Address]:
        return self.get_address_header("To")

    @property
    def cc(self) -> list[Address]:
        return self.get_address_header("Cc")

    @property
    def bcc(self) -> list[Address]:
        """The addresses in Bcc, a rare header. For blind copies see `envelope_recipients`."""
        return self.get_address_header("Bcc")

    @property
    def subject(self) -> str | None:
        subject = self["Subject"]
        return None if subject is None else one_line(str(subject))

    @property
    def date(self) -> datetime | None:
        """The time in Date, in the header's time zone, else in UTC."""
        return self.get_date_header("Date")

    @property
    def message_id(self) -> str | None:
        """The text of Message-ID, chosen by the sender; None for a missing or empty header."""
        return words(next(headers.sources(self, "Message-ID"), "")) or None

    @property
    def in_reply_to(self) -> list[str]:
        """The message ids in In-Reply-To, with <>."""
        return self._message_ids("In-Reply-To")

    @property
    def references(self) -> list[str]:
        """The message ids in References, with <>: the oldest first."""
        return self._message_ids("References")

    def get_address_header(self, header: str) -> list[Address]:
        """The first `addresses.MOST` addresses in the headers of this name."""
        return list(islice(addresses.read(headers.sources(self, header)), addresses.MOST))

    def get_date_header(self, header: str) -> datetime | None:
        """The time in a header; None for a missing or malformed header."""
        try:
            time = parsedate_to_datetime(str(self[header]))
            time.utcoffset()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    def _message_ids(self, header: str) -> list[str]:
        texts = map(words, headers.sources(self, header))
        return [clean(message_id) for text in texts for message_id in _MESSAGE_ID.findall(text)]

    # --- Bodies ---

    @property
    def text(self) -> str | None:
        """The plain text outside attachments and attached mails; None without such a part.

        Consecutive bodies are joined: the text above and below a picture, a body and a mailing list's footer.
        The lines of a flowed text (RFC 3676) are joined to paragraphs.
        """
        bodies = self._bodies("text/plain")
        lines_left = flowed.MOST_LINES
        texts = []
        for body in bodies:
            text = body.get_content_text()
            if str(body.get_param("format", "")).strip().lower() == "flowed":
                lines_left -= text.count("\n") + text.count("\r")
                if lines_left >= 0:
                    delete_space = str(body.get_param("delsp", "")).strip().lower() == "yes"
                    text = flowed.unflowed(text, delete_space=delete_space)
            texts.append(text)
        return _joined(texts) if bodies else None

    @property
    def html(self) -> str | None:
        """The HTML outside attachments and attached mails; None without such a part. Do not trust it.

        Consecutive bodies are joined, as in `text`.
        """
        bodies = self._bodies("text/html")
        return _joined([body.get_content_text() for body in bodies]) if bodies else None

    @property
    def stripped_text(self) -> str | None:
        """The new words in `text`: without the quoted or forwarded mail. SendGrid posts no stripped text.

        The words above and below a quoted mail stay, and answers between quoted lines with these lines. The
        line "On ... wrote:" and the headers above a quoted mail are left out, in some thirty languages, if
        they are in the first 1,000 lines. Signatures stay. A text without a quote is unchanged; "" means that
        the whole text is quoted. A quoted mail without ">" goes on to the end of the text.
        """
        return _stripped(quotes.without_quotes, self.text)

    @property
    def stripped_html(self) -> str | None:
        """The new words in `html`, by the rule of `stripped_text`. The markup of these words is unchanged.

        The elements count, too, in which mail programs put a quoted mail. HTML over a million characters or
        50,000 tags is unchanged.
        """
        return _stripped(quotes.without_quotes_html, self.html)

    def _body(self, content_type: str) -> "InboundMessage | None":
        return next(iter(self._bodies(content_type)), None)

    def _bodies(self, content_type: str) -> "list[InboundMessage]":
        """The parts of a content type that are the body; all but the first without a file name."""
        shown = list(self._shown(content_type))
        return [body for body in shown if body is shown[0] or body.get_filename() is None]

    def _shown(self, content_type: str) -> "Iterator[InboundMessage]":
        """The parts of a content type that a mail program shows one below another.

        Of alternatives, a report and a signed part, only the first inner part with such parts. In
        multipart/related, the parts behind the first only if the HTML has no name to refer to them.
        """
        if self.get_content_maintype() != "multipart":
            if self.get_content_type() == content_type and not self.is_attachment():
                yield self
            return
        subtype = self.get_content_subtype()
        is_first = True
        for inner in cast("list[InboundMessage]", self.get_payload()) if self.is_multipart() else []:
            for part in inner._shown(content_type):
                names = ("Content-ID", "Content-Location") if subtype == "related" else ()
                if is_first or not any(name in part for name in names):
                    yield part
                is_first = False
            if not is_first and subtype in ("alternative", "report", "signed"):
                return

    # --- Parts ---

    @property
    def attachments(self) -> list["InboundMessage"]:
        """The files that the HTML does not show, in order.

        A part without a Content-Disposition counts too: an invitation, the parts of a delivery report.
        An attached mail counts once; its own attachments belong to its own message.
        """
        return self._files(inline=False)

    @property
    def inlines(self) -> list["InboundMessage"]:
        """The files that the HTML shows, such as images, in order: a `cid:` URL names their content id.

        Content-Disposition does not matter: a post of parsed mode has no dispositions, and mail programs
        write "inline" for files that no text shows.
        """
        return self._files(inline=True)

    def _files(self, *, inline: bool) -> list["InboundMessage"]:
        bodies = [self._body("text/plain"), self._body("text/html")]
        files = (leaf for leaf in _leaves(self) if not any(leaf is body for body in bodies))
        shown = cid_urls.content_ids(self.html or "")
        if inline:
            return [file for file in files if file.content_id in shown]
        return [
            file
            for file in files
            if file.content_id not in shown
            # Without a file name a text is another body, such as a mailing list's footer.
            and (
                file.is_attachment()
                or file.get_content_type() not in ("text/plain", "text/html")
                or file.get_filename() is not None
            )
        ]

    @property
    def content_id_map(self) -> dict[str, "InboundMessage"]:
        """The inlines by content id without <>; of duplicates, the last."""
        return {content_id: inline for inline in self.inlines if (content_id := inline.content_id)}

    @property
    def inline_attachments(self) -> dict[str, "InboundMessage"]:
        """The older name of `content_id_map`."""
        return self.content_id_map

    @property
    def content_id(self) -> str | None:
        """The part's content id without <>."""
        return one_line(next(headers.sources(self, "Content-ID"), "")).strip("<> ") or None

    def is_attachment(self) -> bool:
        """Whether the part's Content-Disposition is attachment. `attachments` may have more."""
        return self.get_content_disposition() == "attachment"

    def is_inline(self) -> bool:
        """Whether the part's Content-Disposition is inline. `inlines` are the files that the HTML shows."""
        return self.get_content_disposition() == "inline"

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        """A header's parameter as text without quotes, in any encoding of RFC 2231."""
        return parameters.parameters(next(headers.sources(self, header), "")).get(param.lower(), failobj)

    def get_params(self, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """The header's main value paired with "", then its parameters as pairs of texts."""
        if header not in self:
            return failobj
        main_value, _, _ = str(self[header]).partition(";")
        source = next(headers.sources(self, header))
        return [(main_value.strip(), ""), *parameters.parameters(source).items()]

    def get_content_type(self) -> str:
        """The content type in lower case, also without the semicolon before the parameters."""
        match = _CONTENT_TYPE.match(str(self.get("Content-Type", "")))
        return match[1].lower() if match else super().get_content_type()

    def get_content_charset(self, failobj: Any = None) -> Any:
        """Python's name of the charset that the part's label means; `failobj` without a known label.

        Labels have their meaning on the web: "iso-8859-1" is "cp1252", "gb2312" is "gb18030".
        """
        return known(self.get_param("charset", "")) or failobj

    # --- Content ---

    def get_filename(self, failobj: Any = None) -> Any:
        """The sender's name for the part, with its path, on a single line. Never use it as a path."""
        name = parameters.file_name(self)
        return failobj if name is None else name

    def get_content_bytes(self) -> bytes:
        """The content decoded from its transfer encoding.

        For an attached mail, its source, byte for byte, so that hashes and signatures hold; changes to the
        parsed mail do not change the source. `as_bytes` writes the parsed mail.
        """
        if not self.is_multipart():
            return decoding.content(self)
        if self._source:
            data, start, end = self._source
            return data[start:end]
        if self.get_content_maintype() == "message":
            return b"".join(mail.as_bytes() for mail in cast("list[InboundMessage]", self.get_payload()))
        _, _, source = self.as_bytes().partition(self.policy.linesep.encode() * 2)
        return source

    def keep_source(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Make bytes of `data` the content of this part, whose payload is parsed from these bytes.

        Attached mails share `data`: a copy for each level could take a hundred times the memory.
        """
        self._source = data, start, len(data) if end is None else end

    def set_payload(self, payload: Any, charset: Any = None) -> None:
        super().set_payload(payload, charset)
        self._source = None

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """As in the standard library: the parts, or the content as bytes or text."""
        payload = decoding.payload(self)
        if payload is None or (payload.isascii() and not decode):
            return super().get_payload(i, decode)  # type: ignore[call-overload]
        if decode:
            return decoding.content(self)
        return decode_text(payload.encode("utf-8", "surrogateescape"), self.get_content_charset(""))

    def get_content_text(self, charset: str | None = None, errors: str | None = None) -> str:
        """The content as text, in `charset` or the part's own. Raises only for `errors` such as "strict"."""
        charset = charset or self.get_content_charset("")
        if errors is None:
            return decode_text(self.get_content_bytes(), charset)
        return clean(self.get_content_bytes().decode(known(charset) or "utf-8", errors))

    def get_content(self, *args: Any, content_manager: Any = None, **kwargs: Any) -> Any:
        """As in the standard library, but text as from `get_content_text`."""
        if content_manager is None and self.get_content_maintype() == "text":
            return self.get_content_text(None, *args, **kwargs)
        return super().get_content(*args, content_manager=content_manager, **kwargs)

    def as_bytes(self, unixfrom: bool = False, policy: Policy | None = None) -> bytes:
        source = BytesIO()
        _Generator(source, mangle_from_=False, policy=policy or self.policy).flatten(self, unixfrom)
        return source.getvalue()

    def as_uploaded_file(self) -> SimpleUploadedFile:
        """The part as an uploaded file, with a name safe in a file system."""
        name = _UNSAFE.sub("", re.split(r"[/\\]", self.get_filename(""))[-1]).strip(" .")
        return SimpleUploadedFile(
            _shortened(name) or "attachment", self.get_content_bytes(), content_type=self.get_content_type()
        )


class _Generator(BytesGenerator):
    """A faster and more tolerant generator than the standard library's."""

    def write(self, text: str) -> None:
        # The standard library raises for a boundary beyond ASCII.
        self._fp.write(text.encode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]

    def _write_lines(self, lines: str) -> None:
        # The standard library makes a string of each line: 30 MB of empty lines took a minute.
        lines = lines.replace("\r\n", "\n").replace("\r", "\n")
        self.write(lines.replace("\n", self._NL))  # type: ignore[attr-defined]

    def _handle_multipart(self, part: InboundMessage) -> None:
        # The standard library writes an empty part into a multipart without parts.
        if part.get_payload():
            super()._handle_multipart(part)  # type: ignore[misc]
        else:
            self._write_lines((part.preamble or "") + (part.epilogue or ""))

    def _dispatch(self, part: InboundMessage) -> None:
        # The standard library expects a mail in each message part. An encoded part has text, perhaps 8-bit.
        if part.get_content_maintype() == "message" and decoding.payload(part) is not None:
            self._handle_text(part)  # type: ignore[attr-defined]
        else:
            super()._dispatch(part)  # type: ignore[misc]


#: Anymail's name for the same class.
AnymailInboundMessage = InboundMessage

#: The policy of every InboundMessage. It keeps the lines of the source unchanged.
POLICY = headers.TolerantPolicy(utf8=True, refold_source="none", message_factory=InboundMessage)


def policy(budget: headers.Budget, linesep: str = "\n") -> Policy:
    """`POLICY` for an inbound mail and its parts."""
    return POLICY.clone(budget=budget, linesep=linesep)  # type: ignore[call-arg]


def _leaves(part: InboundMessage) -> Iterator[InboundMessage]:
    """The parts with content, in order; an attached mail counts as a single part."""
    if part.get_content_maintype() != "multipart":
        yield part
    elif part.is_multipart():
        for inner in cast("list[InboundMessage]", part.get_payload()):
            yield from _leaves(inner)


def _shortened(name: str) -> str:
    """A file's name cut to `LONGEST_NAME` bytes: a storage may add a suffix."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 20:
        stem, dot, extension = name, "", ""
    room = LONGEST_NAME - len(f"{dot}{extension}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + extension


def _joined(texts: list[str]) -> str:
    """The texts of consecutive bodies, each beginning on its own line."""
    whole = [text if text.endswith("\n") else f"{text}\n" for text in texts[:-1] if text]
    return "".join(whole) + texts[-1]


def _stripped(strip: Callable[[str], str], text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return clean(strip(text))
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 (the HTML parser raises many errors)
        return text.rstrip()
