"""The lines of a reply to keep."""

from collections.abc import Sequence
from typing import NamedTuple

from events_app.inbound.text.quotes.introductions import find_introduction
from events_app.inbound.text.quotes.line import Line

#: The most lines to search for an introduction. Most replies stand above the quoted mail.
MOST_LINES = 1000

# An attribution is wrapped to a few lines.
_NEXT_LINES = 6


class _Passage(NamedTuple):
    begin: int
    end: int
    introduced_quote: bool = False


def ranges_to_keep(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """The ranges of lines to keep, in order. [] if no line has new words.

    Left out are an introduction and the quoted mail below. A quoted mail without marks has all lines to the
    end. The lines below a marked quote are new words. If quoted lines stand between new words, these are
    answers: the quoted lines stay.
    """
    passages = _trimmed(_passages(lines), lines)
    if len(passages) == 1 and passages[0].begin == 0:
        end = passages[0].end
        if not any(lines[at].text or lines[at].quoted for at in range(end, len(lines))):
            return [(0, len(lines))]
    first = next((at for at, passage in enumerate(passages) if passage.introduced_quote), len(passages))
    answered = any(
        passage.introduced_quote or any(lines[at].quoted for at in range(passage.begin, passage.end))
        for passage in passages[first + 1 :]
    )
    ranges: list[tuple[int, int]] = []
    for passage in passages:
        begin, end = passage.begin, passage.end
        if passage.introduced_quote and not answered:
            continue
        if ranges and ranges[-1][1] == begin:
            ranges[-1] = (ranges[-1][0], end)
            continue
        if ranges or begin:
            begin = next((at for at in range(begin, end) if lines[at].text or lines[at].quoted), end)
        if begin < end:
            ranges.append((begin, end))
    return ranges


def _passages(lines: Sequence[Line]) -> list[_Passage]:
    searched = min(len(lines), MOST_LINES)
    passages: list[_Passage] = []
    begin = 0
    certain = False
    while introduction := find_introduction(lines, begin, searched):
        passages.append(_Passage(begin, introduction.begin))
        quote_end = _quote_end(lines, introduction.end, indented=introduction.attribution)
        if quote_end == introduction.end:
            below = next((at for at in range(introduction.end, len(lines)) if lines[at].text), None)
            if below is None:
                return passages
            # An attribution below "-----Original Message-----", or below another attribution.
            following = find_introduction(lines, below, min(below + _NEXT_LINES, searched))
            if following and following.begin == below:
                begin, certain = below, certain or not introduction.attribution
                continue
            has_new_words = any(
                lines[at].text and not lines[at].quoted
                for passage in passages
                if not passage.introduced_quote
                for at in range(passage.begin, passage.end)
            )
            if not certain and introduction.attribution and not has_new_words:
                # Unmarked quoted words and new words cannot be told apart.
                passages[-1] = _Passage(begin, len(lines))
            return passages
        passages.append(_Passage(introduction.end, quote_end, introduced_quote=True))
        begin, certain = quote_end, False
        first_words = next((lines[at].text for at in range(begin, len(lines)) if lines[at].text), "")
        # A signature, or a mailing list's footer.
        if first_words == "--" or (len(first_words) >= 5 and not first_words.strip("_")):
            return passages
    passages.append(_Passage(begin, len(lines)))
    return passages


def _quote_end(lines: Sequence[Line], begin: int, *, indented: bool) -> int:
    """The end of the quoted lines from `begin`, with empty lines among these; `begin` without such lines.

    Outlook for Mac indents the lines below an attribution, others put these lines in a block quote.
    """
    end = begin
    for at in range(begin, len(lines)):
        if lines[at].quoted or (indented and lines[at].indented):
            end = at + 1
        elif lines[at].text:
            break
    return end


def _trimmed(passages: list[_Passage], lines: Sequence[Line]) -> list[_Passage]:
    """The passages up to the last line that is neither empty nor quoted."""
    while passages:
        last = passages[-1]
        end = last.end
        while end > last.begin and (lines[end - 1].quoted or not lines[end - 1].text):
            end -= 1
        if end > last.begin:
            return [*passages[:-1], last._replace(end=end)]
        passages = passages[:-1]
    return []
