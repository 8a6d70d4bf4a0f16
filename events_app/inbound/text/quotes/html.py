"""The HTML of a reply without the quoted mail."""

from bisect import bisect_left
from collections import Counter

from events_app.inbound.text.quotes.html_lines import HTMLLines, Tag
from events_app.inbound.text.quotes.reply import ranges_to_keep

#: The most characters and tags of HTML to search for a quote.
MOST_HTML = 1_000_000
MOST_TAGS = 50_000


def without_quotes_html(html: str) -> str:
    """The new words of a reply in HTML, by the rule of `without_quotes`; the other markup is unchanged.

    The elements in which mail programs put a quoted mail count, too. HTML beyond `MOST_HTML` or `MOST_TAGS`
    is unchanged, and so is HTML without a text, but for white space at the end.
    """
    html = html.rstrip()
    if len(html) > MOST_HTML or html.count("<") > MOST_TAGS:
        return html
    reader = HTMLLines(html)
    lines = len(reader.lines)
    ranges = ranges_to_keep(reader.lines)
    if ranges == [(0, lines)] or not any(line.text for line in reader.lines):
        return html
    if not ranges:
        return ""
    borders = [*reader.begins, len(html)]
    source = [html[: borders[0]]]
    after = 0
    for begin, end in [*ranges, (lines, lines)]:
        first, last = (bisect_left(reader.tags, (borders[line],)) for line in (after, begin))
        outer = _unpaired(reader.tags[first:last])
        source += [html[tag.begin : tag.end] for tag in outer if begin < lines or tag.closes]
        source.append(html[borders[begin] : borders[end]])
        after = end
    return "".join(source).rstrip()


def _unpaired(tags: list[Tag]) -> list[Tag]:
    """The tags whose element begins or ends outside of these tags."""
    outer: list[Tag] = []
    inner: list[Tag] = []
    counts: Counter[str] = Counter()
    for tag in tags:
        if not tag.closes:
            inner.append(tag)
            counts[tag.name] += 1
        elif not counts[tag.name]:
            outer.append(tag)
        else:
            while True:
                opened = inner.pop()
                counts[opened.name] -= 1
                if opened.name == tag.name:
                    break
    return sorted([*outer, *inner])
