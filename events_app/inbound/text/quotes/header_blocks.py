"""The headers above a quoted mail, and the line above these: "-----Original Message-----"."""

import re
from collections.abc import Sequence

from events_app.inbound.text.quotes.line import Line
from events_app.inbound.text.quotes.phrases import (
    COPY,
    DATE,
    FORWARD_PHRASES,
    FROM,
    HEADER_KINDS,
    RULED_PHRASES,
    SENT,
    SUBJECT,
    TO,
)

_LONGEST_PHRASE = 120
_LONGEST_NAME = 35
_LONGEST_VALUE = 500

_MOST_LINES = 40
# A header's value can be wrapped. Lists of addresses are longer.
_WRAPPED_LINES = 2

_RULE = re.compile(r"[_=*\u2014\u2500-]{5,}\Z")
_DASHES = "-\u2010\u2011\u2012\u2013\u2014_=*> "
_ADDRESS = re.compile(r"[^\s<>@]@[^\s<>@]")


def is_rule(text: str) -> bool:
    """Whether the line is a row of "_" or "-", as Outlook writes above the headers."""
    return bool(_RULE.match(text))


def phrase_end(lines: Sequence[Line], at: int) -> int | None:
    """The end of the known phrase on line `at`, with the headers below; None without such a phrase."""
    text = lines[at].text[:_LONGEST_PHRASE]
    inner = text.lstrip(_DASHES)
    # Yahoo's plain text has the headers on the same line: "----- Forwarded Message ----- From: Ann".
    phrase, _, below = inner.partition(" --")
    if _header(below.lstrip("- "))[0] is None:
        phrase = inner
    # Python lowers the Turkish İ to two characters.
    phrase = phrase.rstrip(_DASHES).lower().replace("\u0307", "")
    if phrase.endswith((":", "：")):
        phrase = phrase[:-1].rstrip()
        known = phrase in RULED_PHRASES or phrase in FORWARD_PHRASES
    else:
        known = phrase in RULED_PHRASES and len(text) - len(phrase) >= 4
    if not known:
        return None
    begin = at + 1
    while begin < len(lines) and not lines[begin].text and not lines[begin].quoted:
        begin += 1
    end, kinds, _ = _headers(lines, begin)
    return end if kinds else at + 1


def block_end(lines: Sequence[Line], at: int) -> int | None:
    """The end of the headers that begin on line `at`: the sender's and two others, or one other below a rule.

    "From: Paris", "To: Rome" and "Date: Monday" are a writer's words: one of the headers must be a mail's.
    """
    if _header(lines[at].text)[0] not in (FROM, TO, DATE, SENT):
        return None
    end, kinds, address = _headers(lines, at)
    above = next((lines[line].text for line in (at - 1, at - 2) if line >= 0 and lines[line].text), "")
    enough = len(kinds) >= 3 and (address or not kinds.isdisjoint((SENT, SUBJECT)))
    enough = enough or (is_rule(above) and not kinds.isdisjoint((DATE, SENT, SUBJECT)))
    return end if FROM in kinds and enough else None


def _headers(lines: Sequence[Line], begin: int) -> tuple[int, set[str], bool]:
    """The end of the headers, their kinds, and whether a sender or recipient has an address."""
    kinds: set[str] = set()
    address = False
    end = begin
    wrapped = 0
    for at in range(begin, min(begin + _MOST_LINES, len(lines))):
        line = lines[at]
        kind, value = _header(line.text)
        if line.quoted or (kind in kinds and kind != COPY):
            break
        if kind is None:
            wrapped += 1
            if wrapped > _WRAPPED_LINES and not _ADDRESS.search(line.text[:_LONGEST_VALUE]):
                break
            continue
        kinds.add(kind)
        address = address or (kind in (FROM, TO) and bool(_ADDRESS.search(value)))
        end, wrapped = at + 1, 0
    return end, kinds, address


def _header(text: str) -> tuple[str | None, str]:
    """The kind of the header on a line, or None, and the header's value."""
    name, _, _ = text[:_LONGEST_NAME].replace("：", ":").partition(":")
    if len(name) in (len(text), _LONGEST_NAME):
        return None, ""
    return HEADER_KINDS.get(name.strip("* ").lower()), text[len(name) + 1 : _LONGEST_VALUE]
