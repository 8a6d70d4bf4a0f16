"""The lines of headers at the beginning of a mail or a part.

- A line that is no header is skipped if a header follows, and up to five lines if two headers follow
  (`_JUNK`). RFC 7103, 7.2, names two readings: damaged headers, or a body without an empty line before it.
  The standard library always takes the second, Go's net/mail refuses the mail, GMime and VMime skip a line.
  Here a header that occurs once in a mail (RFC 5322, 3.6) begins no second time: the lines are a body.
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
    rb"|precedence|priority|received|references|sender|sensitivity|subject|supersedes|to)[\t ]*+:)"
)
_JUNK_LINE = rb"(?:(?!--|" + _NAME + rb")[^\r\n]++" + _EOL + _MORE_LINES + rb")"
_FIELDS = re.compile(rb"(?:" + _FIELD + rb")++")
_TWO_FIELDS = _USUAL + rb"[^\r\n]*+" + _EOL + _MORE_LINES + _NAME
_JUNK = re.compile(
    _JUNK_LINE + rb"(?:(?=" + _USUAL + rb")|" + _JUNK_LINE + rb"{1,4}+(?=" + _TWO_FIELDS + rb"))"
)

# The name of a header that occurs once.
_ONCE = rb"(bcc|cc|date|from|in-reply-to|message-id|references|reply-to|sender|subject|to)[\t ]*+:"
_ONCE_HERE = re.compile(_ONCE, re.IGNORECASE)
_ONCE_ABOVE = re.compile(rb"(?:\A|(?<=[\r\n]))" + _ONCE, re.IGNORECASE)

# Before the first header: lines of space and a space; before the first of a mail also a byte order mark,
# empty lines, the envelope of the mbox format, and a line that is no header.
_BEFORE_PART = re.compile(rb"(?:[\t ]++(?:\r\n|\r|\n))*+(?:[\t ]++(?=" + _USUAL + rb"))?")
_BEFORE_MAIL = re.compile(
    rb"(?:\xef\xbb\xbf|[\0\t\n\r ]|>?From (?![\t ]*+:)[^\r\n]*+[\r\n])*+(?:(?="
    + _USUAL
    + rb")|"
    + _JUNK_LINE
    + rb"(?="
    + _USUAL
    + rb"))"
)

_NAME_AND_VALUE = re.compile(
    r"(?:\A|(?<=[\r\n]))(?!--)([\x21-\x39\x3b-\x7e]++)[\t ]*+:([^\r\n]*+(?:(?:\r\n|\r|\n)[\t ][^\r\n]*+)*+)"
)

LINE_END = re.compile(rb"\r\n|\r|\n")


def head_and_body(data: bytes, start: int, end: int, *, is_mail: bool = False) -> tuple[bytes, int]:
    """The lines of the headers that begin at `start`, and the start of the body."""
    before = (is_mail and _BEFORE_MAIL.match(data, start, end)) or _BEFORE_PART.match(data, start, end)
    start = before.end() if before else start
    lines = _FIELDS.match(data, start, end)
    stop = lines.end() if lines else start
    above: set[bytes] = set()
    while lines and (junk := _JUNK.match(data, stop, end)):
        above.update(name.lower() for name in _ONCE_ABOVE.findall(lines[0]))
        once = _ONCE_HERE.match(data, junk.end(), end)
        if once and once[1].lower() in above:
            break
        lines = _FIELDS.match(data, junk.end(), end)
        stop = lines.end() if lines else junk.end()
    blank = LINE_END.match(data, stop, end)
    return data[start:stop], blank.end() if blank else stop


def header_lines(head: bytes) -> Iterator[str]:
    """Each header with its continuation lines, as "name:value". Bytes beyond ASCII are surrogates."""
    for header in _NAME_AND_VALUE.finditer(head.decode("ascii", "surrogateescape")):
        yield f"{header[1]}:{header[2]}"
