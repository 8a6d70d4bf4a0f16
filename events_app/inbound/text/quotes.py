"""The text of a reply without the quoted mail."""

import re
from collections.abc import Sequence

from quotequail import _html, _internal  # its `quote_html` tries its expressions on lines of any length
from quotequail._enums import Position
from quotequail._patterns import MAX_WRAP_LINES, XML_ILLEGAL_CHARS_RE

#: The most lines to search for a quote. Most replies stand above the quoted mail.
MOST_LINES = 1000

# A longer line introduces no quote, and some thirty expressions are tried on each line.
_LONGEST_LINE = 500

# A line with more of a mark introduces no quote. The time of expressions like "(.* <.*@.*>)$" grows with the
# product of the marks' numbers.
_MARKS, _MOST_MARKS = ("<", "@", " heeft ", " schrieb ", " schreef ", " skrev "), 3

#: The most lines to search for ">" at the end of a text.
MOST_QUOTED_LINES = 100_000

#: The most characters of HTML to parse, and the most tags.
MOST_HTML = 1_000_000
MOST_TAGS = 50_000

# HTML of so few bytes, well-formed or malformed, has no room for slow attributes. An attribute can be one
# character long: 20,000 in one tag took two seconds.
_LITTLE_HTML = 40_000

#: The most tags with invalid XML names, such as "<a@b.example>". quotequail replaces each with text, in a
#: time growing with the HTML before the tag: 12,000 tags took more than 15 seconds.
MOST_ODD_TAGS = 200

# A tag no parser mistakes for a longer tag: its quotes are paired, without "<" between. At most a thousand
# attributes: the time of libxml2 grows with the square of their number, and 200,000 take minutes.
_TAG = re.compile(
    r"""<[A-Za-z][^\s<>/"'=]*+
    (?:[\s/]*+[^\s<>/"'=]++(?:\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'|[^\s"'<>]++))?+){0,1000}+
    [\s/]*+>""",
    re.VERBOSE,
)
_TAG_BEGINS = re.compile("<(?=[A-Za-z])")
_ODD_TAG_BEGINS = re.compile(r"<(?=[A-Za-z])(?![\w.-]++(?::[A-Za-z_][\w.-]*+)*+[ \t\n\f\r/>])", re.ASCII)


def without_quotes(text: str) -> str:
    """The text before the line introducing a quoted or forwarded mail, without ">" lines at the end.

    Answers between quoted lines stay, with the quoted lines. "" when the quote comes first.
    """
    lines = text.split("\n", MOST_LINES)[:MOST_LINES]
    begin = _quote_begins([line.rstrip("\r") for line in lines], MAX_WRAP_LINES)
    if begin is not None:
        text = "\n".join(lines[:begin])
    return text[: _end_of_answers(text)].rstrip()


def _quote_begins(lines: Sequence[str], wraps: int) -> int | None:
    """The number of the line introducing a quote."""
    short = (line[:_LONGEST_LINE] for line in lines)
    candidates = [line if max(map(line.count, _MARKS)) <= _MOST_MARKS else "-" for line in short]
    begin: int | None = _internal.find_quote_position(candidates, wraps, position=Position.Begin)
    return begin


def _end_of_answers(text: str) -> int:
    """The start of the empty and quoted lines at the end."""
    end = len(text.rstrip())
    for _ in range(MOST_QUOTED_LINES):
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if end <= 0 or (line.strip() and not line.startswith(">")):
            break
        end = max(start - 1, 0)
    return end


def without_quotes_html(html: str) -> str:
    """The HTML before a quoted or forwarded mail, with its markup rewritten; unchanged without a quote."""
    if not _is_quickly_parsed(html):
        return html.rstrip()
    tree = _html.get_html_tree(html)
    starts, ends, lines = _html.get_line_info(tree, MOST_LINES)
    begin = _quote_begins(lines, 1)
    if begin is None:
        return html.rstrip()
    reply = _html.slice_tree(tree, starts, ends, (0, begin), html_copy=html)
    return str(_html.render_html_tree(reply)).rstrip()


def _is_quickly_parsed(html: str) -> bool:
    if len(html) > MOST_HTML or html.count("<") > MOST_TAGS:
        return False
    html = XML_ILLEGAL_CHARS_RE.sub("", html)  # as quotequail does: an illegal character can hide a tag
    if sum(1 for _ in _ODD_TAG_BEGINS.finditer(html)) > MOST_ODD_TAGS:
        return False
    return len(html.encode()) <= _LITTLE_HTML or all(
        _TAG.match(html, begin.start()) for begin in _TAG_BEGINS.finditer(html)
    )
