"""The lines of a reply to keep."""

from collections.abc import Sequence
from typing import NamedTuple

from events_app.inbound.text.quotes import introductions
from events_app.inbound.text.quotes.line import Line

#: The most lines to search for an introduction. Most replies stand above the quoted mail.
MOST_LINES = 1000

# An attribution is wrapped to a few lines.
_NEXT_LINES = 6


class _Part(NamedTuple):
    begin: int
    end: int
    introduced_quote: bool = False


def kept(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """The ranges of lines to keep, in order. [] if no line has new words.

    An introduction is left out, with the quoted mail below. A quoted mail without marks goes on to the end.
    Below a marked quote the words go on; if quoted lines stand between these words, all quoted lines stay.
    """
    parts = _trimmed(_parts(lines), lines)
    if len(parts) == 1 and parts[0].begin == 0:
        end = parts[0].end
        if not any(lines[at].text or lines[at].quoted for at in range(end, len(lines))):
            return [(0, len(lines))]
    first = next((at for at, part in enumerate(parts) if part.introduced_quote), len(parts))
    answered = any(
        part.introduced_quote or any(lines[at].quoted for at in range(part.begin, part.end))
        for part in parts[first + 1 :]
    )
    ranges: list[tuple[int, int]] = []
    for part in parts:
        begin, end = part.begin, part.end
        if part.introduced_quote and not answered:
            continue
        if ranges and ranges[-1][1] == begin:
            ranges[-1] = (ranges[-1][0], end)
            continue
        if ranges or begin:
            begin = next((at for at in range(begin, end) if lines[at].text or lines[at].quoted), end)
        if begin < end:
            ranges.append((begin, end))
    return ranges


def _parts(lines: Sequence[Line]) -> list[_Part]:
    searched = min(len(lines), MOST_LINES)
    parts: list[_Part] = []
    begin = 0
    certain = False
    while found := introductions.find(lines, begin, searched):
        parts.append(_Part(begin, found.begin))
        quote_end = _quote_end(lines, found.end, indented=found.attribution)
        if quote_end == found.end:
            below = next((at for at in range(found.end, len(lines)) if lines[at].text), None)
            if below is None:
                return parts
            # An attribution below "-----Original Message-----", or below another attribution.
            again = introductions.find(lines, below, min(below + _NEXT_LINES, searched))
            if again and again.begin == below:
                begin, certain = below, certain or not found.attribution
                continue
            if not certain and found.attribution and not any(_has_words(lines, part) for part in parts):
                # Unmarked quoted words and new words cannot be told apart.
                parts[-1] = _Part(begin, len(lines))
            return parts
        parts.append(_Part(found.end, quote_end, introduced_quote=True))
        begin, certain = quote_end, False
        if _is_signature(lines, begin):
            return parts
    parts.append(_Part(begin, len(lines)))
    return parts


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


def _is_signature(lines: Sequence[Line], begin: int) -> bool:
    """Whether a signature or a mailing list's footer is first among the lines below a quote."""
    text = next((lines[at].text for at in range(begin, len(lines)) if lines[at].text), "")
    return text == "--" or (len(text) >= 5 and not text.strip("_"))


def _trimmed(parts: list[_Part], lines: Sequence[Line]) -> list[_Part]:
    """The parts up to the last line that is neither empty nor quoted."""
    while parts:
        last = parts[-1]
        end = last.end
        while end > last.begin and (lines[end - 1].quoted or not lines[end - 1].text):
            end -= 1
        if end > last.begin:
            return [*parts[:-1], last._replace(end=end)]
        parts = parts[:-1]
    return []


def _has_words(lines: Sequence[Line], part: _Part) -> bool:
    if part.introduced_quote:
        return False
    return any(lines[at].text and not lines[at].quoted for at in range(part.begin, part.end))
