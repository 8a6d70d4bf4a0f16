"""The source of a mail -> an InboundMessage.

The standard library parses the headers; this module finds the parts. The library's own parser makes a string
of each line (350 bytes for ten), and checks each line once for every level around the line: 30 MB could keep
a worker busy for minutes and take a gigabyte.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import StartBoundaryNotFoundDefect
from email.parser import BytesHeaderParser
from heapq import merge
from itertools import chain
from typing import cast

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage, policy
from events_app.inbound.text.headers import Budget

#: Bounds of a mail: its parts on all levels, the levels, the bytes and lines of all parts' headers, and the
#: bytes searched for parts. The bytes of a part on the tenth level count ten times.
MOST_PARTS = 1000
MOST_LEVELS = 100
MOST_HEADER_BYTES = 1_000_000
MOST_HEADER_LINES = 50_000
MOST_SEARCHED = 400_000_000

# A line with the beginning of a delimiter takes as long as the search of so many bytes. A line can begin like
# the delimiter of every level.
_COST_OF_DELIMITER = 1000

# Header lines and their continuation lines, as the standard library recognizes them.
_HEADERS = re.compile(rb"(?:(?:From |[\x21-\x39\x3b-\x7e]*:|[\t ])[^\r\n]*(?:\r\n|\r|\n|\Z))*+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_END_OF_DELIMITER = re.compile(rb"(--)?[ \t]*(\r\n|\r|\n|\Z)")
_BLANK_LINES = re.compile(rb"(?>\r\n|\r|\n)(?:[ \t]*(?>\r\n|\r|\n))++")


@dataclass
class Taken:
    """The use of the bounds, by a mail or by several mails together."""

    parts: int = 0
    header_bytes: int = 0
    header_lines: int = 0
    searched: int = 0
    budget: Budget = field(default_factory=Budget)

    def add_part(self, head: bytes) -> None:
        """Count a part with these headers. Raises Unreadable beyond a bound."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise Unreadable(f"The mail has more than {MOST_PARTS} parts.")
        self.add_bytes(len(head))
        self.header_lines += max(head.count(b"\n"), head.count(b"\r"))
        if self.header_lines > MOST_HEADER_LINES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_LINES} lines.")

    def add_bytes(self, size: int) -> None:
        """Count bytes of headers. Raises Unreadable beyond the bound."""
        self.header_bytes += size
        if self.header_bytes > MOST_HEADER_BYTES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_BYTES} bytes.")

    def search(self, size: int) -> None:
        """Count searched bytes. Raises Unreadable beyond the bound."""
        self.searched += size
        if self.searched > MOST_SEARCHED:
            raise Unreadable("The mail has too much content on too many levels.")


def parse(data: bytes, taken: Taken | None = None) -> InboundMessage:
    """The parsed mail; raises Unreadable beyond a bound. `taken` is the use of the bounds so far."""
    return _Mail(data, taken or Taken()).part(0, len(data), 0)


class _Mail:
    def __init__(self, data: bytes, taken: Taken) -> None:
        self.data = data
        self.taken = taken
        first_line_end = _LINE_END.search(data)
        crlf = first_line_end is not None and first_line_end[0] == b"\r\n"
        self.headers = BytesHeaderParser(policy=policy(taken.budget, "\r\n" if crlf else "\n"))

    def part(self, start: int, end: int, level: int, default: str = "text/plain") -> InboundMessage:
        """The part between two positions of the source, with its inner parts."""
        if level > MOST_LEVELS:
            raise Unreadable(f"The mail nests deeper than {MOST_LEVELS} levels.")
        message, body = self._head(start, end)
        message.set_default_type(default)
        main_type = message.get_content_maintype()
        if main_type in ("multipart", "message"):
            self.taken.search(end - body)
        if main_type == "multipart":
            self._add_parts(message, body, end, level)
        elif main_type == "message" and not _is_encoded(message):
            self._add_messages(message, body, end, level)
        else:
            message.set_payload(self._text(body, end))
        return message

    def _head(self, start: int, end: int) -> tuple[InboundMessage, int]:
        """A message with the headers beginning at `start`, and the start of its body."""
        header_lines = _HEADERS.match(self.data, start, end)
        stop = header_lines.end() if header_lines else start
        head = self.data[start:stop]
        self.taken.add_part(head)
        message = cast(InboundMessage, self.headers.parsebytes(head))
        blank = _LINE_END.match(self.data, stop, end)
        return message, blank.end() if blank else stop

    def _add_parts(self, message: InboundMessage, start: int, end: int, level: int) -> None:
        default = "message/rfc822" if message.get_content_type() == "multipart/digest" else "text/plain"
        message.set_payload([])
        begin = None
        for at, delimiter in self._delimiters(message, start, end):
            # The line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1).
            line_end = 2 if self.data[at - 2 : at] == b"\r\n" else 1
            stop = max(start if begin is None else begin, at - line_end)
            if begin is None:
                if delimiter[1]:
                    break  # closed before it was opened
                message.preamble = self._text(start, stop) or None
            elif at > begin:
                message.attach(self.part(begin, stop, level + 1, default))
            begin = delimiter.end()
            if delimiter[1]:
                message.epilogue = self._text(begin, end) if delimiter[2] else None
                return
        if begin is None:  # without parts, the content is the only part
            content, _ = self._head(start, start)
            content.set_payload(self._text(start, end))
            message.attach(content)
            message.defects.append(StartBoundaryNotFoundDefect())
        else:
            message.attach(self.part(begin, end, level + 1, default))

    def _delimiters(
        self, message: InboundMessage, start: int, end: int
    ) -> Iterator[tuple[int, re.Match[bytes]]]:
        """The start of each delimiter, and a match of its end."""
        try:
            boundary = message.get_boundary()
        except (ValueError, LookupError, TypeError):
            return
        if boundary:
            text = b"--" + boundary.encode("utf-8", "surrogateescape")
            first = [start] if self.data.startswith(text, start, end) else []
            line_ends = (self._places(line_end + text, start, end) for line_end in (b"\n", b"\r"))
            for at in chain(first, (place + 1 for place in merge(*line_ends))):
                self.taken.search(_COST_OF_DELIMITER)
                delimiter_end = _END_OF_DELIMITER.match(self.data, at + len(text), end)
                if delimiter_end:
                    yield at, delimiter_end

    def _places(self, text: bytes, start: int, end: int) -> Iterator[int]:
        # A regular expression takes eighty times as long on text that nearly matches.
        at = self.data.find(text, start, end)
        while at >= 0:
            yield at
            at = self.data.find(text, at + len(text), end)

    def _add_messages(self, message: InboundMessage, start: int, end: int, level: int) -> None:
        message.set_payload([])
        if message.get_content_type() != "message/delivery-status":
            message.attach(self.part(start, end, level + 1))
            return
        # Blocks of headers, separated by blank lines.
        for blank in chain(_BLANK_LINES.finditer(self.data, start, end), (None,)):
            stop = blank.start() if blank else end
            if stop > start:
                block, _ = self._head(start, stop)
                message.attach(block)
            start = blank.end() if blank else end

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode("ascii", "surrogateescape")


def _is_encoded(message: InboundMessage) -> bool:
    encoding = str(message.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    return encoding in ("base64", "quoted-printable", "x-uuencode")
