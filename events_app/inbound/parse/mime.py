"""The source of a mail, as an InboundMessage.

The standard library parses the headers; the parts are told apart here. Its own parser holds a mail as
one string a line (ten bytes of it take 350), and looks at each line once for each level around it, so
that 30 MB could keep a worker for minutes and take a gigabyte.
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

#: Bounds of one mail: its parts on all levels, the levels, the bytes and lines of all parts' headers, and the
#: bytes that are searched for parts, those of a part on the tenth level ten times.
MOST_PARTS = 1000
MOST_LEVELS = 100
MOST_HEADER_BYTES = 1_000_000
MOST_HEADER_LINES = 50_000
MOST_SEARCHED = 400_000_000

# Bytes that a line counts for which begins as a delimiter: it takes as long as their search. One line can
# begin as the delimiter of each level.
_COST_OF_DELIMITER = 1000

# What the standard library takes for a header line, or for the rest of one.
_HEADERS = re.compile(rb"(?:(?:From |[\x21-\x39\x3b-\x7e]*:|[\t ])[^\r\n]*(?:\r\n|\r|\n|\Z))*+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_END_OF_DELIMITER = re.compile(rb"(--)?[ \t]*(\r\n|\r|\n|\Z)")
_BLANK_LINES = re.compile(rb"(?>\r\n|\r|\n)(?:[ \t]*(?>\r\n|\r|\n))++")


@dataclass
class Taken:
    """What has been taken of the bounds, by one source or by several together."""

    parts: int = 0
    header_bytes: int = 0
    header_lines: int = 0
    searched: int = 0
    budget: Budget = field(default_factory=Budget)

    def add_part(self, head: bytes) -> None:
        """Raises Unreadable where that goes beyond a bound."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise Unreadable(f"The mail has more than {MOST_PARTS} parts.")
        self.add_bytes(len(head))
        self.header_lines += max(head.count(b"\n"), head.count(b"\r"))
        if self.header_lines > MOST_HEADER_LINES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_LINES} lines.")

    def add_bytes(self, size: int) -> None:
        """Of headers. Raises Unreadable where that goes beyond the bound."""
        self.header_bytes += size
        if self.header_bytes > MOST_HEADER_BYTES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_BYTES} bytes.")

    def search(self, size: int) -> None:
        """Raises Unreadable where that goes beyond the bound."""
        self.searched += size
        if self.searched > MOST_SEARCHED:
            raise Unreadable("The mail has too much content on too many levels.")


def parse(data: bytes, taken: Taken | None = None) -> InboundMessage:
    """The mail; raises Unreadable where it goes beyond a bound, with what others have `taken` of it."""
    return _Mail(data, taken or Taken()).part(0, len(data), 0)


class _Mail:
    def __init__(self, data: bytes, taken: Taken) -> None:
        self.data = data
        self.taken = taken
        first_line_end = _LINE_END.search(data)
        crlf = first_line_end is not None and first_line_end[0] == b"\r\n"
        self.headers = BytesHeaderParser(policy=policy(taken.budget, "\r\n" if crlf else "\n"))

    def part(self, start: int, end: int, level: int, default: str = "text/plain") -> InboundMessage:
        """The part between two places of the source, with all that is in it."""
        if level > MOST_LEVELS:
            raise Unreadable(f"The mail nests deeper than {MOST_LEVELS} levels.")
        message, body = self._head(start, end)
        message.set_default_type(default)
        kind = message.get_content_maintype()
        if kind in ("multipart", "message"):
            self.taken.search(end - body)
        if kind == "multipart":
            self._add_parts(message, body, end, level)
        elif kind == "message" and _is_plain(message):
            self._add_messages(message, body, end, level)
        else:
            message.set_payload(self._text(body, end))
        return message

    def _head(self, start: int, end: int) -> tuple[InboundMessage, int]:
        """A message with the headers that begin at `start`, and where its body begins."""
        found = _HEADERS.match(self.data, start, end)
        stop = found.end() if found else start
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
            stop = self._before_line_end(start if begin is None else begin, at)
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
        if begin is None:
            self._add_text(message, start, end)
        else:
            message.attach(self.part(begin, end, level + 1, default))

    def _add_text(self, message: InboundMessage, start: int, end: int) -> None:
        """Where a multipart has no parts, what is in it is its one."""
        part, _ = self._head(start, start)
        part.set_payload(self._text(start, end))
        message.attach(part)
        message.defects.append(StartBoundaryNotFoundDefect())

    def _delimiters(
        self, message: InboundMessage, start: int, end: int
    ) -> Iterator[tuple[int, re.Match[bytes]]]:
        """Where each delimiter begins, and its end."""
        boundary = _boundary(message)
        if boundary:
            text = b"--" + boundary
            first = [start] if self.data.startswith(text, start, end) else []
            line_ends = (self._places(line_end + text, start, end) for line_end in (b"\n", b"\r"))
            for at in chain(first, (place + 1 for place in merge(*line_ends))):
                self.taken.search(_COST_OF_DELIMITER)
                found = _END_OF_DELIMITER.match(self.data, at + len(text), end)
                if found:
                    yield at, found

    def _places(self, text: bytes, start: int, end: int) -> Iterator[int]:
        # Not a regular expression, which takes eighty times as long where the text nearly matches.
        at = self.data.find(text, start, end)
        while at >= 0:
            yield at
            at = self.data.find(text, at + len(text), end)

    def _add_messages(self, message: InboundMessage, start: int, end: int, level: int) -> None:
        message.set_payload([])
        if message.get_content_type() != "message/delivery-status":
            message.attach(self.part(start, end, level + 1))
            return
        # Blocks of headers, with blank lines between them.
        for blank in chain(_BLANK_LINES.finditer(self.data, start, end), (None,)):
            stop = blank.start() if blank else end
            if stop > start:
                block, _ = self._head(start, stop)
                message.attach(block)
            start = blank.end() if blank else end

    def _before_line_end(self, start: int, at: int) -> int:
        """`at`, or the start of the line end before it, which belongs to the delimiter (RFC 2046, 5.1.1)."""
        length = 2 if self.data[at - 2 : at] == b"\r\n" else 1
        return max(start, at - length)

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode("ascii", "surrogateescape")


def _is_plain(message: InboundMessage) -> bool:
    encoding = str(message.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    return encoding not in ("base64", "quoted-printable", "x-uuencode")


def _boundary(message: InboundMessage) -> bytes | None:
    try:
        found = message.get_boundary()
    except (ValueError, LookupError, TypeError):
        return None
    return found.encode("utf-8", "surrogateescape") if found else None
