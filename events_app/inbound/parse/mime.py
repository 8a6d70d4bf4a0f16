"""The source of a mail -> an InboundMessage.

No library gives the standard library's tree of parts within bounds. The standard library's own parser makes a
string of each line, and checks each line once for every level around the line: a megabyte of short lines in
90 multiparts takes 1.8 s of CPU, here 0.1 s (`benchmarks.hostile._nested(90, b"a\\n" * 500_000)`), and 30 MB
could keep a worker busy for a minute. fast-mail-parser gives no tree, and raised on 29 of 1,720 public mails.
This module finds the headers and the parts in the bytes. `test_oracle` has all known differences from the
standard library.

The parser tolerates the structure that broken mail programs and gateways send:

- A line that is no header is skipped if a header follows (`_JUNK`). RFC 7103, 7.2, names two readings: a
  damaged header, or a body without an empty line before it. The standard library always takes the second,
  Go's net/mail refuses the mail, GMime and VMime skip the line.
- Space before a header's colon is the obsolete syntax of RFC 5322, 4.5.8.
- If no line has the declared boundary, Content-Type is read without its quoting rules, and then the boundary
  is taken from the content.
- A multipart with the boundary of the multipart around it takes the parts up to the first closing delimiter.
- Lines that end with two carriage returns and a line feed end once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import StartBoundaryNotFoundDefect
from heapq import merge
from itertools import chain, islice

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage, policy
from events_app.inbound.text.decoding import transfer_encoding
from events_app.inbound.text.headers import LONGEST_OF_PARTS, Budget

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

# Bounds of the search for an undeclared boundary: lines, boundaries among the lines, and bytes of a line.
# RFC 2046, 5.1.1, allows a boundary 70 characters.
_MOST_LINES_TRIED = 100
_MOST_BOUNDARIES_TRIED = 5
_LONGEST_BOUNDARY = 200

_EOL = rb"(?:\r\n|\r|\n|\Z)"
_MORE_LINES = rb"(?:[\t ][^\r\n]*+" + _EOL + rb")*+"

# A name as the standard library recognizes names, but "--" begins a delimiter.
_NAME = rb"(?!--)[\x21-\x39\x3b-\x7e]++[\t ]*+:"
_FIELD = _NAME + rb"[^\r\n]*+" + _EOL + _MORE_LINES

# Where lines are skipped, only a usual name makes the next line a header, lest "Note: ..." end a text.
_USUAL = (
    rb"(?i:(?:[a-z0-9]++(?:[-_][a-z0-9]++)++|bcc|cc|comments|date|from|importance|keywords|organization"
    rb"|priority|received|references|sender|subject|to)[\t ]*+:)"
)
_JUNK = rb"(?!--|" + _NAME + rb")[^\r\n]++" + _EOL + _MORE_LINES + rb"(?=" + _USUAL + rb")"
_HEADERS = re.compile(_FIELD + rb"(?:" + _FIELD + rb"|" + _JUNK + rb")*+")

# Before the first header: lines of space and a space; before the first of a mail also a byte order mark,
# empty lines, the envelope of the mbox format, and a line that is no header.
_BEFORE_PART = re.compile(rb"(?:[\t ]++(?:\r\n|\r|\n))*+(?:[\t ]++(?=" + _USUAL + rb"))?")
_BEFORE_MAIL = re.compile(
    rb"(?:\xef\xbb\xbf|[\0\t\n\r ]|>?From (?![\t ]*+:)[^\r\n]*+[\r\n])*+(?:(?="
    + _USUAL
    + rb")|"
    + _JUNK
    + rb")"
)

_NAME_AND_VALUE = re.compile(
    r"(?:\A|(?<=[\r\n]))(?!--)([\x21-\x39\x3b-\x7e]++)[\t ]*+:([^\r\n]*+(?:(?:\r\n|\r|\n)[\t ][^\r\n]*+)*+)"
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_END_OF_DELIMITER = re.compile(rb"(--)?[ \t]*(\r\n|\r|\n|\Z)")
_BLANK_LINES = re.compile(rb"(?>\r\n|\r|\n)(?:[ \t]*(?>\r\n|\r|\n))++")

# A multipart's content without parts: only space, perhaps with the closing delimiter.
_NOTHING = re.compile(rb"\s*+(?:--[^\r\n]++(?<=--)\s*+)?\Z")

# The first header of a part, below a delimiter.
_HEADER_OF_PART = re.compile(rb"(?:\r\n|\r|\n)content-[a-z-]++:", re.IGNORECASE)

# A boundary in the source of Content-Type, without the quoting rules.
_BOUNDARY = re.compile(r"""\bboundary\s*+=\s*+["']?([^;"'\r\n]++)""", re.IGNORECASE)


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
    mail = _Mail(data, taken or Taken())
    return mail.part(0, len(mail.data), 0, is_mail=True)


class _Mail:
    def __init__(self, data: bytes, taken: Taken) -> None:
        self.taken = taken
        first_line_end = _LINE_END.search(data)
        if first_line_end and data.startswith(b"\r\r\n", first_line_end.start()):
            data = data.replace(b"\r\r\n", b"\r\n")
            first_line_end = _LINE_END.search(data)
        self.data = data
        crlf = first_line_end is not None and first_line_end[0] == b"\r\n"
        self.policy = policy(taken.budget, "\r\n" if crlf else "\n")
        #: The delimiters of the multiparts around the part being read.
        self.around: list[bytes] = []

    def part(
        self, start: int, end: int, level: int, default: str = "text/plain", *, is_mail: bool = False
    ) -> InboundMessage:
        """The part between two positions of the source, with its inner parts."""
        if level > MOST_LEVELS:
            raise Unreadable(f"The mail nests deeper than {MOST_LEVELS} levels.")
        message, body = self._head(start, end, is_mail=is_mail)
        message.set_default_type(default)
        main_type = message.get_content_maintype()
        if main_type in ("multipart", "message"):
            self.taken.search(end - body)
        if main_type == "multipart":
            self._add_parts(message, body, end, level)
        elif main_type == "message" and not transfer_encoding(message):
            self._add_messages(message, body, end, level)
        else:
            message.set_payload(self._text(body, end))
        return message

    def _head(self, start: int, end: int, *, is_mail: bool = False) -> tuple[InboundMessage, int]:
        """A message with the headers beginning at `start`, and the start of its body."""
        before = (is_mail and _BEFORE_MAIL.match(self.data, start, end)) or _BEFORE_PART.match(
            self.data, start, end
        )
        start = before.end() if before else start
        header_lines = _HEADERS.match(self.data, start, end)
        stop = header_lines.end() if header_lines else start
        head = self.data[start:stop]
        self.taken.add_part(head)
        message = InboundMessage(self.policy)
        for name, value in _NAME_AND_VALUE.findall(head.decode("ascii", "surrogateescape")):
            message.set_raw(*self.policy.header_source_parse([f"{name}:{value}"]))
        message.set_payload("")
        blank = _LINE_END.match(self.data, stop, end)
        return message, blank.end() if blank else stop

    def _add_parts(self, message: InboundMessage, start: int, end: int, level: int) -> None:
        default = "message/rfc822" if message.get_content_type() == "multipart/digest" else "text/plain"
        message.set_payload([])
        boundary, delimiters = self._delimiters(message, start, end)
        if not boundary:
            self._add_content(message, start, end)
            return
        self.around.append(boundary)
        # Multiparts inside that have the same boundary are open until a closing delimiter.
        open_multiparts = [message]
        begin = None
        for at, delimiter in delimiters:
            # The line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1).
            line_end = 2 if self.data[at - 2 : at] == b"\r\n" else 1
            stop = max(start if begin is None else begin, at - line_end)
            if begin is None:
                if not message.get_payload():
                    message.preamble = self._text(start, stop) or None
            elif at > begin:
                part = self.part(begin, stop, level + len(open_multiparts), default)
                open_multiparts[-1].attach(part)
                is_empty = part.get_content_maintype() == "multipart" and not part.get_payload()
                if is_empty and boundary in self._declared(part):
                    open_multiparts.append(part)
            begin = delimiter.end()
            if delimiter[1]:
                if len(open_multiparts) == 1:
                    message.epilogue = self._text(begin, end) if delimiter[2] else None
                    begin = None
                    break
                open_multiparts.pop()
                begin = None
        if begin is not None:
            open_multiparts[-1].attach(self.part(begin, end, level + len(open_multiparts), default))
        self.around.pop()

    def _add_content(self, message: InboundMessage, start: int, end: int) -> None:
        """Add the content of a multipart without parts as the only part, but no empty part."""
        message.defects.append(StartBoundaryNotFoundDefect())
        has_outer_boundary = any(boundary in self.around for boundary in self._declared(message))
        if has_outer_boundary or _NOTHING.match(self.data, start, end):
            message.preamble = self._text(start, end) or None
            return
        content, _ = self._head(start, start)
        content.set_payload(self._text(start, end))
        message.attach(content)

    def _delimiters(
        self, message: InboundMessage, start: int, end: int
    ) -> tuple[bytes, Iterator[tuple[int, re.Match[bytes]]]]:
        """The boundary with its "--", and its delimiters; b"" if no delimiter opens a part."""
        for boundary in chain(self._declared(message), self._undeclared(start, end)):
            delimiters = self._delimiters_of(boundary, start, end)
            first = next(delimiters, None)
            if first and not first[1][1]:
                return boundary, chain([first], delimiters)
        return b"", iter(())

    def _declared(self, message: InboundMessage) -> Iterator[bytes]:
        """The boundary in Content-Type: by the rules, and read without the rules."""
        try:
            boundary = message.get_boundary()
        except (ValueError, LookupError, TypeError):
            boundary = None
        if boundary:
            yield b"--" + boundary.encode("utf-8", "surrogateescape")
        sources = (source for name, source in message.raw_items() if name.lower() == "content-type")
        unquoted = _BOUNDARY.search(next(sources, "")[:LONGEST_OF_PARTS])
        if unquoted and unquoted[1].strip() not in ("", boundary):
            yield b"--" + unquoted[1].strip().encode("utf-8", "surrogateescape")

    def _undeclared(self, start: int, end: int) -> Iterator[bytes]:
        """Boundaries, with their "--", of lines that a part's header follows, or that close a multipart."""
        tried: set[bytes] = set()
        for at in islice(self._lines(b"--", start, end), _MOST_LINES_TRIED):
            line_end = _LINE_END.search(self.data, at, min(end, at + _LONGEST_BOUNDARY))
            line = self.data[at : line_end.start()].rstrip() if line_end else b""
            if line in tried or line.endswith(b"--") or not line.strip(b"-=_*. "):
                continue
            if len(tried) == _MOST_BOUNDARIES_TRIED:
                return
            tried.add(line)
            self.taken.search(end - at)
            has_header = line_end and _HEADER_OF_PART.match(self.data, line_end.start(), end)
            if has_header or any(delimiter[1] for _, delimiter in self._delimiters_of(line, at, end)):
                yield line

    def _delimiters_of(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, re.Match[bytes]]]:
        """The start of each delimiter, and a match of its end."""
        for at in self._lines(boundary, start, end):
            delimiter_end = _END_OF_DELIMITER.match(self.data, at + len(boundary), end)
            if delimiter_end:
                yield at, delimiter_end

    def _lines(self, text: bytes, start: int, end: int) -> Iterator[int]:
        """The start of each line that begins with the text."""
        first = [start] if self.data.startswith(text, start, end) else []
        line_ends = (self._places(line_end + text, start, end) for line_end in (b"\n", b"\r"))
        for at in chain(first, (place + 1 for place in merge(*line_ends))):
            self.taken.search(_COST_OF_DELIMITER)
            yield at

    def _places(self, text: bytes, start: int, end: int) -> Iterator[int]:
        # A regular expression takes eighty times as long on text that nearly matches.
        at = self.data.find(text, start, end)
        while at >= 0:
            yield at
            at = self.data.find(text, at + len(text), end)

    def _add_messages(self, message: InboundMessage, start: int, end: int, level: int) -> None:
        message.set_payload([])
        if message.get_content_type() != "message/delivery-status":
            message.attach(self.part(start, end, level + 1, is_mail=True))
        else:
            # Blocks of headers, separated by blank lines.
            at = start
            for blank in chain(_BLANK_LINES.finditer(self.data, start, end), (None,)):
                stop = blank.start() if blank else end
                if stop > at:
                    block, _ = self._head(at, stop)
                    message.attach(block)
                at = blank.end() if blank else end
        message.keep_source(self.data, start, end)

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode("ascii", "surrogateescape")
