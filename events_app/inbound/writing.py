"""Writes a parsed mail as bytes."""

from base64 import encodebytes
from copy import copy
from email.generator import BytesGenerator
from email.message import EmailMessage

from events_app.inbound.text.transfer import decoded_content, encoded_content


class TolerantGenerator(BytesGenerator):
    """A faster and more tolerant generator than the standard library's."""

    def write(self, text: str) -> None:
        # The standard library raises for a boundary beyond ASCII.
        self._fp.write(text.encode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]

    def _write_lines(self, lines: str) -> None:
        # The standard library makes a string of each line: 30 MB of empty lines took a minute.
        lines = lines.replace("\r\n", "\n").replace("\r", "\n")
        self.write(lines.replace("\n", self._NL))  # type: ignore[attr-defined]

    def _handle_multipart(self, part: EmailMessage) -> None:
        # The standard library writes an empty part into a multipart without parts.
        if part.get_payload():
            super()._handle_multipart(part)  # type: ignore[misc]
        else:
            self._write_lines((part.preamble or "") + (part.epilogue or ""))

    def _dispatch(self, part: EmailMessage) -> None:
        # The standard library expects a mail in each message part. An encoded part has text, perhaps 8-bit.
        if part.get_content_maintype() == "message" and encoded_content(part) is not None:
            self._handle_text(part)  # type: ignore[attr-defined]
        else:
            super()._dispatch(part)  # type: ignore[misc]


class TextGenerator(TolerantGenerator):
    """Writes content beyond ASCII in base64."""

    def _write(self, part: EmailMessage) -> None:
        # The standard library encodes such a text in the declared charset, and raises for an unknown charset
        # and for bytes that are no text of the charset.
        content = encoded_content(part)
        if content is not None and not content.isascii():
            encoded = encodebytes(decoded_content(part)).decode("ascii")
            part = copy(part)
            del part["Content-Transfer-Encoding"]  # gives the copy a separate list of headers
            part.set_raw("Content-Transfer-Encoding", "base64")
            part.set_payload(encoded)
        super()._write(part)  # type: ignore[misc]
