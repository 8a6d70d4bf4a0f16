"""The lines that introduce a quoted mail: an attribution, a header block, or a line with a known phrase."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from events_app.inbound.text.quotes.line import Line
from events_app.inbound.text.quotes.phrases import (
    DATE,
    FINAL_VERBS,
    FORWARD_PHRASES,
    FROM,
    HEADER_KINDS,
    MIDDLE_VERBS,
    OPENERS,
    RULED_PHRASES,
    SUBJECT,
    TO,
)

# Mail programs wrap an attribution at about 75 characters. Names and addresses can be long.
_ATTRIBUTION_LINES = 5
_LONGEST_ATTRIBUTION = 400

_LONGEST_NAME = 30
_BLOCK_LINES = 40
_WRAPPED_LINES = 2

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_NUMERIC_DATE = re.compile(r"(?<!\d)\d{1,4}([./-]) ?\d{1,2}\1 ?\d{1,4}(?!\d)")
_TIME = re.compile(r"(?<!\d)\d{1,2}[:.]\d\d(?!\d)")
_DAY = re.compile(r"(?<!\d)\d{1,2}(?!\d)")
_ADDRESS = re.compile(r"[^\s<>@]@[^\s<>@]")
_ADDRESS_AT_THE_END = re.compile(r"[<\[(][^\s<>@]{1,100}@[^\s<>@]{1,200}>?[>\])]\Z")
_NUMERIC_BEGINNING = re.compile(r"\d{4}[/-]\d{1,2}[/-]\d{1,2} ")

# "On Tuesday, February 3" has two words before the day, "Am Di., den 3." as well.
_OPENER = re.compile(rf"(?:{'|'.join(map(re.escape, OPENERS))})[ ,]*(?:[^\W\d]{{1,15}}[.,'׳]{{0,2}} ?){{0,3}}\d", re.I)
_WEEKDAY = re.compile(r"(?:[^\W\d]{1,15}\.?,? ?)?\d")
_OPENING_WORD = re.compile(rf"(?:{'|'.join(map(re.escape, OPENERS))})\b", re.I)

# A writer's own words, such as "On 1 May you wrote:", have no other sign of an attribution.
_PRONOUNS = frozenset({"i", "we", "he", "she", "they", "you", "who", "it", "someone", "to"})

_RULE = re.compile(r"[_=*\u2014\u2500-]{5,}\Z|[_-](?: ?[_-]){9,}\Z")
_DASHES = "-\u2010\u2011\u2012\u2013\u2014_=*> "


class Introduction(NamedTuple):
    """The lines from `begin` up to `end`; the quoted mail follows. Empty if the markup has the quoted mail."""

    begin: int
    end: int
    #: The lines are an attribution. A writer's own words can have the same form.
    attribution: bool = False


def find(lines: Sequence[Line], begin: int, end: int) -> Introduction | None:
    """The first introduction among the lines from `begin` up to `end`."""
    for at in range(begin, end):
        line = lines[at]
        if line.introduces:
            after = at
            while after < end and lines[after].introduces and not lines[after].quoted:
                after += 1
            return Introduction(_rule_above(lines, begin, at), after)
        if line.quoted:
            # Apple Mail on iOS quotes the attribution, too.
            if (at == begin or not lines[at - 1].quoted) and _attribution(lines, at, min(at + 3, end)):
                return Introduction(at, at)
        elif line.text:
            after = _phrase_end(lines, at) or _block_end(lines, at, introduced=False)
            if after:
                return Introduction(_rule_above(lines, begin, at), after)
            first = _attribution_begin(lines, begin, at)
            if first is not None:
                return Introduction(_rule_above(lines, begin, first), at + 1, attribution=True)
    return None


def _rule_above(lines: Sequence[Line], begin: int, at: int) -> int:
    """The line of "_____" or empty lines above, or `at`."""
    above = at
    while above > begin and not lines[above - 1].text and not lines[above - 1].quoted:
        above -= 1
    if above > begin and not lines[above - 1].quoted and _RULE.match(lines[above - 1].text):
        return above - 1
    return at


# --- Phrases ---


def _phrase_end(lines: Sequence[Line], at: int) -> int | None:
    text = lines[at].text
    if len(text) > 120:
        return None
    phrase = text.strip(_DASHES).lower().replace("\u0307", "")  # Python lowers the Turkish İ to two characters
    if phrase.endswith((":", "：")):
        known = phrase[:-1].rstrip() in RULED_PHRASES | FORWARD_PHRASES
    else:
        known = phrase in RULED_PHRASES and len(text) - len(text.strip(_DASHES)) >= 4
    return _headers_end(lines, at + 1) if known else None


def _headers_end(lines: Sequence[Line], at: int) -> int:
    """The end of the header block after a line that introduces it."""
    begin = at
    while begin < len(lines) and not lines[begin].text and not lines[begin].quoted:
        begin += 1
    return (begin < len(lines) and _block_end(lines, begin, introduced=True)) or at


# --- Header blocks ---


def _header(line: Line) -> tuple[str | None, str]:
    """The kind of a header line, and the text after its name."""
    name, colon, _ = line.text[: _LONGEST_NAME + 5].replace("：", ":").partition(":")
    kind = HEADER_KINDS.get(name.strip("*_ ").lower()) if colon else None
    return kind, line.text[len(name) + 1 :]


def _block_end(lines: Sequence[Line], at: int, *, introduced: bool) -> int | None:
    """The end of the header block at this line: the sender and two other headers, or one in a known place.

    A block without Subject needs an address: "From: Paris", "To: Rome" and "Date: Monday" are a writer's words.
    """
    first, _ = _header(lines[at])
    if first not in (FROM, TO, DATE) and not introduced:
        return None
    kinds: set[str] = set()
    address = False
    end = at
    wrapped = 0
    for here in range(at, min(at + _BLOCK_LINES, len(lines))):
        line = lines[here]
        if line.quoted:
            break
        kind, value = _header(line)
        if kind is None:
            wrapped += 1
            if wrapped > _WRAPPED_LINES and not _ADDRESS.search(line.text[:_LONGEST_ATTRIBUTION]):
                break
            continue
        if kind in kinds and kind != "copy":
            break
        kinds.add(kind)
        address = address or (kind in (FROM, TO) and bool(_ADDRESS.search(value[:_LONGEST_ATTRIBUTION])))
        end, wrapped = here + 1, 0
    if introduced:
        return end if kinds else None
    rule = at > 0 and bool(_RULE.match(lines[at - 1].text or (lines[at - 2].text if at > 1 else "")))
    enough = len(kinds) >= 3 and (address or SUBJECT in kinds)
    return end if FROM in kinds and (enough or (rule and len(kinds) >= 2)) else None


# --- Attributions ---


def _attribution_begin(lines: Sequence[Line], begin: int, last: int) -> int | None:
    """The first line of the attribution that ends with this line."""
    tail = lines[last].text
    if not tail.endswith((":", "：", ">", "-", "*", "_")) or len(tail) > _LONGEST_ATTRIBUTION:
        return None
    follows = next((line.quoted or line.indented for line in lines[last + 1 : last + 4] if line.text or line.quoted), False)
    found: int | None = None
    complete = False
    text = ""
    for at in range(last, max(begin, last - _ATTRIBUTION_LINES + 1) - 1, -1):
        line = lines[at]
        if line.quoted or not line.text or len(text) + len(line.text) > _LONGEST_ATTRIBUTION:
            break
        text = f"{line.text} {text}".rstrip()
        opened = _OPENER.match(text)
        if complete and not (opened and not _YEAR.search(line.text)):
            break
        if not _is_attribution(text, quote_follows=follows):
            continue
        if found is None or opened or not complete:
            found, complete = at, bool(opened) or (_has_date(text) and text[0] not in "<([\"")
        if opened:
            break
    if found is not None and found > begin and not any(_ADDRESS.search(lines[at].text) for at in range(found, last + 1)):
        # Gmail in Chinese: a name, an address, and a date that begins the next line.
        above = lines[found - 1].text[:_LONGEST_ATTRIBUTION].rstrip("于於 ")
        address = _ADDRESS_AT_THE_END.search(above)
        if address and _is_name(above[: address.start()]):
            return found - 1
    return found


def _attribution(lines: Sequence[Line], at: int, end: int) -> bool:
    """Whether an attribution of one to three lines begins at this line."""
    text = ""
    for line in lines[at:end]:
        text = f"{text} {line.text}".strip()
        if len(text) <= _LONGEST_ATTRIBUTION and _is_attribution(text, quote_follows=False):
            return True
    return False


def _has_date(text: str) -> bool:
    """Whether the text has a numeric date, or a year and a day."""
    if _NUMERIC_DATE.search(text):
        return True
    return bool(_YEAR.search(text)) and bool(_DAY.search(_TIME.sub("", _YEAR.sub("", text))))


def _is_attribution(text: str, *, quote_follows: bool) -> bool:
    text = text.strip("*_ ")
    if text.startswith("--") and text.endswith("--"):  # Zoho: "---- On ... wrote ----"
        text = text.strip("- ") + ":"
    dated = _YEAR.search(text) or _NUMERIC_DATE.search(text)
    if not text.endswith((":", "：")):
        # Gmail, until about 2014: "2013/10/2 Ann <ann@example.org>"
        return bool(quote_follows and _NUMERIC_BEGINNING.match(text) and _ADDRESS_AT_THE_END.search(text))
    body = text.rstrip(":： -")
    opened = _OPENER.match(body)
    if verb := next((verb for verb in FINAL_VERBS if body.endswith(verb)), None):
        before = body[: -len(verb)].rstrip()
        if before and verb.isascii() and body[-len(verb) - 1].isalpha():
            return False
        own_words = before.rpartition(" ")[2].lower() in _PRONOUNS
        if _ADDRESS.search(before) or (dated and (_TIME.search(before) or not own_words)):
            return True
        if quote_follows and (_OPENING_WORD.match(body) or _is_name(before)):
            return True
        return bool(opened) and not own_words
    for verb in MIDDLE_VERBS:
        before, found, after = f" {body} ".partition(verb)
        if not found:
            continue
        before, after = before.strip(), after.strip()
        if (dated or _TIME.search(before)) and len(after) < 120 and (opened or _WEEKDAY.match(before)):
            return True
        named = _ADDRESS.search(before) or _is_name(before) or verb.startswith("napisana")
        if named and (_YEAR.search(after) or _NUMERIC_DATE.search(after)):
            return True
    # Gmail in Russian or Japanese, Yandex: "3 февр. 2026 г. в 10:11, Ann <ann@example.org>:"
    return bool(
        dated
        and _TIME.search(body)
        and _ADDRESS_AT_THE_END.search(body)
        and (opened or _WEEKDAY.match(body))
    )


def _is_name(text: str) -> bool:
    """Whether the text is like a person's name: at most five words, none of them in lower case."""
    words = text.strip("\"'“”„«» ").split()
    return 0 < len(words) <= 5 and not any(word[0].islower() for word in words)
