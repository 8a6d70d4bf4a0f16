"""The boundaries of multiparts, and the delimiters between their parts.

If no line has the declared boundary, Content-Type is read without its quoting rules, and then the boundary is
taken from the content.
"""

import re
from collections.abc import Iterator
from email.message import EmailMessage
from heapq import merge
from itertools import chain, islice

from events_app.inbound.mime.bounds import Taken
from events_app.inbound.mime.heads import LINE_END
from events_app.inbound.text.headers import LONGEST_OF_PARTS

# A line with the beginning of a delimiter takes as long as the search of so many bytes. A line can begin like
# the delimiter of every level.
_COST_OF_DELIMITER = 1000

# Bounds of the search for an undeclared boundary: lines, boundaries among the lines, and bytes of a line.
# RFC 2046, 5.1.1, allows a boundary 70 characters.
_MOST_LINES_TRIED = 100
_MOST_BOUNDARIES_TRIED = 5
_LONGEST_BOUNDARY = 200

# Some mail programs write a space before the dashes.
_END_OF_DELIMITER = re.compile(rb"[ \t]*+(--)?[ \t]*+(\r\n|\r|\n|\Z)")

# The first header of a part, below a delimiter.
_HEADER_OF_PART = re.compile(rb"(?:\r\n|\r|\n)content-[a-z-]++:", re.IGNORECASE)

# A boundary in the source of Content-Type, without the quoting rules.
_BOUNDARY = re.compile(r"""\bboundary\s*+=\s*+["']?([^;"'\r\n]++)""", re.IGNORECASE)


def declared_boundaries(message: EmailMessage) -> Iterator[bytes]:
    """The boundary in Content-Type, with its "--": by the rules, and read without the rules."""
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


class Delimiters:
    """Finds the delimiters in the source of a mail. Counts the searches."""

    def __init__(self, data: bytes, taken: Taken) -> None:
        self._data = data
        self._taken = taken

    def find(
        self, message: EmailMessage, start: int, end: int
    ) -> tuple[bytes, Iterator[tuple[int, re.Match[bytes]]]]:
        """The boundary with its "--", and its delimiters; b"" if no delimiter opens a part."""
        for boundary in chain(declared_boundaries(message), self._undeclared(start, end)):
            delimiters = self._delimiters_of(boundary, start, end)
            first = next(delimiters, None)
            if first and not first[1][1]:
                return boundary, chain([first], delimiters)
        return b"", iter(())

    def _undeclared(self, start: int, end: int) -> Iterator[bytes]:
        """Boundaries, with their "--", of lines that a part's header follows, or that close a multipart."""
        tried: set[bytes] = set()
        for at in islice(self._lines(b"--", start, end), _MOST_LINES_TRIED):
            line_end = LINE_END.search(self._data, at, min(end, at + _LONGEST_BOUNDARY))
            line = self._data[at : line_end.start()].rstrip() if line_end else b""
            if line in tried or line.endswith(b"--") or not line.strip(b"-=_*. "):
                continue
            if len(tried) == _MOST_BOUNDARIES_TRIED:
                return
            tried.add(line)
            self._taken.search(end - at)
            has_header = line_end and _HEADER_OF_PART.match(self._data, line_end.start(), end)
            if has_header or any(delimiter[1] for _, delimiter in self._delimiters_of(line, at, end)):
                yield line

    def _delimiters_of(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, re.Match[bytes]]]:
        """The start of each delimiter, and a match of its end."""
        for at in self._lines(boundary, start, end):
            delimiter_end = _END_OF_DELIMITER.match(self._data, at + len(boundary), end)
            if delimiter_end:
                yield at, delimiter_end

    def _lines(self, text: bytes, start: int, end: int) -> Iterator[int]:
        """The start of each line that begins with the text."""
        first = [start] if self._data.startswith(text, start, end) else []
        line_ends = (self._places(line_end + text, start, end) for line_end in (b"\n", b"\r"))
        for at in chain(first, (place + 1 for place in merge(*line_ends))):
            self._taken.search(_COST_OF_DELIMITER)
            yield at

    def _places(self, text: bytes, start: int, end: int) -> Iterator[int]:
        # A regular expression takes eighty times as long on text that nearly matches.
        at = self._data.find(text, start, end)
        while at >= 0:
            yield at
            at = self._data.find(text, at + len(text), end)
