"""The plain text of a reply without the quoted mail."""

from events_app.inbound.text.quotes.line import Line, displayed
from events_app.inbound.text.quotes.reply import MOST_LINES, ranges_to_keep

#: The most quoted lines to leave out at the end of a text, and the most lines to search for words below
#: a quote.
MOST_QUOTED_LINES = 100_000

# A longer line introduces no quote.
_LONGEST_LINE = 500


def without_quotes(text: str) -> str:
    """The new words of a reply: the text without the quoted or forwarded mail, and without its introduction.

    The words above and below the quoted mail stay. Answers between quoted lines stay, with the quoted lines.
    Quoted lines at the end are left out. "" if the whole text is quoted. A text without a quote is unchanged,
    but for white space at the end.
    """
    text = text.rstrip()
    source = text.split("\n", MOST_QUOTED_LINES)
    if len(source) > MOST_QUOTED_LINES:
        text = text[: _end_of_answers(text)].rstrip()
        source = text.split("\n", MOST_QUOTED_LINES)
    lines = [_line(line, above) for line, above in zip(source[:MOST_LINES], ["", *source], strict=False)]
    lines += [Line(line.strip()[:1], line.startswith(">")) for line in source[MOST_LINES:MOST_QUOTED_LINES]]
    lines += [Line("…") for _ in source[MOST_QUOTED_LINES:]]  # one, the rest of the text
    ranges = ranges_to_keep(lines)
    if ranges == [(0, len(lines))]:
        return text
    blank = "\r\n\r\n" if "\r\n" in text else "\n\n"
    return blank.join("\n".join(source[begin:end]).rstrip() for begin, end in ranges)


def _line(source: str, above: str) -> Line:
    quoted = source.startswith((">", " >"))
    if quoted and source.rstrip().endswith(":") and above.rfind("<") > above.rfind(">"):
        quoted = False  # Gmail wraps a long attribution within an address: "Ann <ann@example.org" and ">:"
    if len(source) > _LONGEST_LINE:
        text = displayed(source[:_LONGEST_LINE]) + "…"
    else:
        text = displayed(source.lstrip("> ") if quoted else source)
    return Line(text, quoted, indented=source.startswith(("    ", "\t")))


def _end_of_answers(text: str) -> int:
    """The start of the empty and quoted lines at the end."""
    end = len(text.rstrip())
    for _ in range(MOST_QUOTED_LINES):
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if end <= 0 or (line.strip() and not line.startswith((">", " >"))):
            break
        end = max(start - 1, 0)
    return end
