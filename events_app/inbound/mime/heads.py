"""The lines of headers at the beginning of a mail or a part.

- A line that is no header is skipped if a header follows (`_JUNK`). RFC 7103, 7.2, names two readings: a
  damaged header, or a body without an empty line before it. The standard library always takes the second,
  Go's net/mail refuses the mail, GMime and VMime skip the line.
- Space before a header's colon is the obsolete syntax of RFC 5322, 4.5.8.
"""

import re
from collections.abc import Iterator

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

LINE_END = re.compile(rb"\r\n|\r|\n")


def head_and_body(data: bytes, start: int, end: int, *, is_mail: bool = False) -> tuple[bytes, int]:
    """The lines of the headers that begin at `start`, and the start of the body."""
    before = (is_mail and _BEFORE_MAIL.match(data, start, end)) or _BEFORE_PART.match(data, start, end)
    start = before.end() if before else start
    lines = _HEADERS.match(data, start, end)
    stop = lines.end() if lines else start
    blank = LINE_END.match(data, stop, end)
    return data[start:stop], blank.end() if blank else stop


def header_lines(head: bytes) -> Iterator[str]:
    """Each header with its continuation lines, as "name:value". Bytes beyond ASCII are surrogates."""
    for header in _NAME_AND_VALUE.finditer(head.decode("ascii", "surrogateescape")):
        yield f"{header[1]}:{header[2]}"
