"""A part of a mail, with the standard library's methods."""

import re
from email.message import EmailMessage
from email.policy import Policy
from io import BytesIO
from operator import is_
from typing import Any, cast

from django.core.files.uploadedfile import SimpleUploadedFile

from events_app.inbound.text import headers
from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text, html_charset
from events_app.inbound.text.encoded_words import one_line
from events_app.inbound.text.parameters import file_name, read_parameters
from events_app.inbound.text.transfer import decoded_content, encoded_content
from events_app.inbound.writing import TextGenerator, TolerantGenerator
from events_app.shared.database import clean

#: The most characters of a content whose text is kept: the HTML is read for each list of files.
LONGEST_KEPT = 1_000_000
_OF_TEXT = ("content-type", "content-transfer-encoding")

#: The most bytes of an uploaded file's name: file systems allow 255.
LONGEST_NAME = 200

# Control characters, and characters reversing the reading direction, to show "gnp.exe" as "exe.png".
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# A content type that ends with its semicolon, or with a comma, a space or a comment in its place. Some mail
# programs quote the type.
_CONTENT_TYPE = re.compile(r'\s*"?([^\s;,(/"]+/[^\s;,(/"]+)"?(?:[\s;,(]|\Z)')

# A disposition, but not the name of a parameter.
_DISPOSITION = re.compile(r'"?([^\s;,("=:]++)(?!\s*+[=:])')


class Part(EmailMessage):
    """A mail, or a part of a mail: the standard library's methods, tolerant of malformed mail."""

    _source: tuple[bytes, int, int] | None = None
    #: The decoded text, and the objects from which the text was decoded.
    _text: tuple[list[str], str] | None = None

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy or POLICY)

    # --- Headers ---

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
        return read_parameters(next(headers.sources(self, header), "")).get(param.lower(), failobj)

    def get_params(self, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """The header's main value paired with "", then its parameters as pairs of texts."""
        if header not in self:
            return failobj
        main_value, _, _ = str(self[header]).partition(";")
        source = next(headers.sources(self, header))
        return [(main_value.strip(), ""), *read_parameters(source).items()]

    def get_content_type(self) -> str:
        """The content type in lower case, also without the semicolon before the parameters."""
        match = _CONTENT_TYPE.match(headers.beginning(self, "content-type"))
        return match[1].lower() if match else super().get_content_type()

    def get_content_disposition(self) -> str | None:
        """The disposition in lower case; None for a missing or empty header."""
        match = _DISPOSITION.match(headers.beginning(self, "content-disposition"))
        return match[1].lower() if match else None

    def get_content_charset(self, failobj: Any = None) -> Any:
        """Python's name of the charset that the part's label means; `failobj` without a known label.

        Labels have their meaning on the web: "iso-8859-1" is "cp1252", "gb2312" is "gb18030".
        """
        return codec_name(self.get_param("charset", "")) or failobj

    def get_filename(self, failobj: Any = None) -> Any:
        """The sender's name for the part, with its path, on a single line. Never use it as a path."""
        name = file_name(self)
        return failobj if name is None else name

    # --- Content ---

    def get_content_bytes(self) -> bytes:
        """The content decoded from its transfer encoding.

        For an attached mail, its source, byte for byte, so that hashes and signatures hold; changes to the
        parsed mail do not change the source. `as_bytes` writes the parsed mail.
        """
        if not self.is_multipart():
            return decoded_content(self)
        if self._source:
            source, start, end = self._source
            return source[start:end]
        if self.get_content_maintype() == "message":
            return b"".join(mail.as_bytes() for mail in cast("list[Part]", self.get_payload()))
        _, _, content = self.as_bytes().partition(self.policy.linesep.encode() * 2)
        return content

    def keep_source(self, source: bytes, start: int = 0, end: int | None = None) -> None:
        """Make bytes of `source` the content of this part, whose payload is parsed from these bytes.

        Attached mails share `source`: a copy for each level could take a hundred times the memory.
        """
        self._source = source, start, len(source) if end is None else end

    def set_payload(self, payload: Any, charset: Any = None) -> None:
        super().set_payload(payload, charset)
        self._source = None

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """As in the standard library: the parts, or the content as bytes or text."""
        payload = encoded_content(self)
        if payload is None or (payload.isascii() and not decode):
            return super().get_payload(i, decode)  # type: ignore[call-overload]
        if decode:
            return decoded_content(self)
        return decode_text(payload.encode("utf-8", "surrogateescape"), self.get_content_charset(""))

    def get_content_text(self, charset: str | None = None, errors: str | None = None) -> str:
        """The content as text, in `charset` or the part's own. Raises only for `errors` such as "strict"."""
        if charset is None and errors is None:
            return self._decoded_text()
        content = self.get_content_bytes()
        charset = charset or self._charset_of(content)
        if errors is None:
            return decode_text(content, charset)
        return clean(content.decode(codec_name(charset) or "utf-8", errors))

    def _decoded_text(self) -> str:
        """The content as text, kept for as long as the content and its headers are the same objects."""
        encoded = encoded_content(self)
        if encoded is None or len(encoded) > LONGEST_KEPT:
            return self.get_content_text(self.get_content_charset(""))
        origin = [encoded, *(source for name, source in self.raw_items() if name.lower() in _OF_TEXT)]
        if not self._text or len(origin) != len(self._text[0]) or not all(map(is_, origin, self._text[0])):
            self._text = origin, self.get_content_text(self.get_content_charset(""))
        return self._text[1]

    def _charset_of(self, content: bytes) -> str:
        """The charset that the part declares, or that its HTML names."""
        charset: str = self.get_content_charset("")
        is_html = self.get_content_type() == "text/html"
        return html_charset(content) if is_html and not charset else charset

    def get_content(self, *args: Any, content_manager: Any = None, **kwargs: Any) -> Any:
        """As in the standard library, but text as from `get_content_text`."""
        if content_manager is None and self.get_content_maintype() == "text":
            return self.get_content_text(None, *args, **kwargs)
        return super().get_content(*args, content_manager=content_manager, **kwargs)

    def as_bytes(self, unixfrom: bool = False, policy: Policy | None = None) -> bytes:
        return self._written(TolerantGenerator, unixfrom, policy)

    def as_string(
        self, unixfrom: bool = False, maxheaderlen: int | None = None, policy: Policy | None = None
    ) -> str:
        """As in the standard library: content beyond ASCII is in base64."""
        return decode_text(self._written(TextGenerator, unixfrom, policy))

    def _written(self, generator: type[TolerantGenerator], unixfrom: bool, policy: Policy | None) -> bytes:
        source = BytesIO()
        generator(source, mangle_from_=False, policy=policy or self.policy).flatten(self, unixfrom)
        return source.getvalue()

    def as_uploaded_file(self) -> SimpleUploadedFile:
        """The part as an uploaded file, with a name safe in a file system."""
        name = _UNSAFE.sub("", re.split(r"[/\\]", self.get_filename(""))[-1]).strip(" .")
        return SimpleUploadedFile(
            _shortened(name) or "attachment", self.get_content_bytes(), content_type=self.get_content_type()
        )


def _shortened(name: str) -> str:
    """A file's name cut to `LONGEST_NAME` bytes: a storage may add a suffix."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 20:
        stem, dot, extension = name, "", ""
    room = LONGEST_NAME - len(f"{dot}{extension}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + extension


#: The policy of every part. It keeps the lines of the source unchanged.
POLICY = headers.TolerantPolicy(utf8=True, refold_source="none", message_factory=Part)


def mail_policy(budget: headers.Budget, linesep: str = "\n") -> Policy:
    """`POLICY` for a mail and its parts, with the mail's own budget and line ends."""
    return POLICY.clone(budget=budget, linesep=linesep)  # type: ignore[call-arg]
