"""What a reply says itself, without the mail it quotes."""

import re
from collections.abc import Sequence

from quotequail import _html, _internal  # its `quote_html` tries its expressions on lines of any length
from quotequail._enums import Position
from quotequail._patterns import MAX_WRAP_LINES, XML_ILLEGAL_CHARS_RE

#: Lines in which a quote is looked for. Most replies stand above what they quote.
MOST_LINES = 1000

# A line longer than this introduces no quote, and each is tried with some thirty expressions.
_LONGEST_LINE = 500

# More of one of these on a line introduce no quote, and the time that "(.* <.*@.*>)$" and its like take grows
# with the product of their numbers.
_MARKS, _MOST_MARKS = ("<", "@", " heeft ", " schrieb ", " schreef ", " skrev "), 3

#: Lines that are looked at for ">" at the end of a text.
MOST_QUOTED_LINES = 100_000

#: Characters of HTML that are read, and tags.
MOST_HTML = 1_000_000
MOST_TAGS = 50_000

# In so few bytes of HTML there is no room for attributes that take long, be it well-formed or not. Attributes
# can have one character each: 20,000 of them in one tag took two seconds.
_LITTLE_HTML = 40_000

#: Tags that XML has no name for, such as "<a@b.example>". quotequail puts text in the place of each, and the
#: time for one grows with all that stands before it: 12,000 took more than 15 seconds.
MOST_ODD_TAGS = 200

# A tag that no parser can take for a longer one: all its quotes are in pairs, with no "<" between. Up to a
# thousand attributes: the time of libxml2 grows with the square of their number, and 200,000 take minutes.
_TAG = re.compile(
    r"""<[A-Za-z][^\s<>/"'=]*+
    (?:[\s/]*+[^\s<>/"'=]++(?:\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'|[^\s"'<>]++))?+){0,1000}+
    [\s/]*+>""",
    re.VERBOSE,
)
_TAG_BEGINS = re.compile("<(?=[A-Za-z])")
_ODD_TAG_BEGINS = re.compile(r"<(?=[A-Za-z])(?![\w.-]++(?::[A-Za-z_][\w.-]*+)*+[ \t\n\f\r/>])", re.ASCII)


def without_quotes(text: str) -> str:
    """`text` as far as the line that introduces a quoted or forwarded mail, without ">" lines at its end.

    Answers between quoted lines stay, with these. "" where the quote comes first.
    """
    lines = text.split("\n", MOST_LINES)[:MOST_LINES]
    begin = _quote_begins([line.rstrip("\r") for line in lines], MAX_WRAP_LINES)
    if begin is not None:
        text = "\n".join(lines[:begin])
    return text[: _end_of_answers(text)].rstrip()


def _quote_begins(lines: Sequence[str], wraps: int) -> int | None:
    """The number of the line that introduces a quote."""
    looked_at = [_looked_at(line) for line in lines]
    found: int | None = _internal.find_quote_position(looked_at, wraps, position=Position.Begin)
    return found


def _looked_at(line: str) -> str:
    line = line[:_LONGEST_LINE]
    return line if max(map(line.count, _MARKS)) <= _MOST_MARKS else "-"


def _end_of_answers(text: str) -> int:
    """Where the lines begin that are all empty or quoted."""
    end = len(text.rstrip())
    for _ in range(MOST_QUOTED_LINES):
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if end <= 0 or (line.strip() and not line.startswith(">")):
            break
        end = max(start - 1, 0)
    return end


def without_quotes_html(html: str) -> str:
    """`html` as far as what introduces a quoted or forwarded mail; as it is where that is not found.

    Of HTML with a quote the markup is written anew.
    """
    if not _is_quickly_parsed(html):
        return html.rstrip()
    tree = _html.get_html_tree(html)
    starts, ends, lines = _html.get_line_info(tree, MOST_LINES)
    begin = _quote_begins(lines, 1)
    if begin is None:
        return html.rstrip()
    own = _html.slice_tree(tree, starts, ends, (0, begin), html_copy=html)
    return str(_html.render_html_tree(own)).rstrip()


def _is_quickly_parsed(html: str) -> bool:
    if len(html) > MOST_HTML or html.count("<") > MOST_TAGS:
        return False
    html = XML_ILLEGAL_CHARS_RE.sub("", html)  # as quotequail does: behind one of them a tag can hide
    if sum(1 for _ in _ODD_TAG_BEGINS.finditer(html)) > MOST_ODD_TAGS:
        return False
    return len(html.encode()) <= _LITTLE_HTML or all(
        _TAG.match(html, found.start()) for found in _TAG_BEGINS.finditer(html)
    )
