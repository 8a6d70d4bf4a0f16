"""The line above a quoted mail that names time and writer: "On Tue, Feb 3, 2026, Ann wrote:"."""

import re
from collections.abc import Sequence
from itertools import takewhile

from events_app.inbound.text.quotes.line import Line
from events_app.inbound.text.quotes.phrases import FINAL_VERBS, MIDDLE_VERBS, OPENERS, OWN_WORDS, PARTICLES
from events_app.inbound.text.quotes.signs import ADDRESS, YEAR, has_date, has_time

# Mail programs wrap an attribution at about 75 characters. Names and addresses can be long.
_MOST_LINES = 5
_LONGEST = 400

_FINAL_ADDRESS = re.compile(r"[<\[(][^\s<>@]{1,100}@[^\s<>@]{1,200}>?[>\])]\Z")
_FINAL_ADDRESS_AND_VERB = re.compile(
    rf"[^\s<>@]@[^\s<>@]{{1,200}}> (?:{'|'.join(map(re.escape, FINAL_VERBS))})\Z"
)

_ANY_OPENER = f"(?:{'|'.join(map(re.escape, OPENERS))})"
_OPENING_WORD = re.compile(rf"{_ANY_OPENER}\b", re.IGNORECASE)
# Up to three words stand before the day: "Am Dienstag, den 3." and "Il giorno mar 3".
_OPENER = re.compile(rf"{_ANY_OPENER}[ ,]*(?:[^\W\d]{{1,15}}[.,،'׳]{{0,2}} ?){{0,3}}\d", re.IGNORECASE)
_WEEKDAY = re.compile(r"(?:[^\W\d]{1,15}\.?,? ?)?\d")
_ISO_DATE = re.compile(r"\d{4}[/-]\d{1,2}[/-]\d{1,2} ")

# An address in a writer's own words: "a colleague (ann@example.org)". Mail programs write "<" or a name.
_WORD_AND_ADDRESS = re.compile(r"(?:\A| )([^\W\d_]{1,30})[ (\[]{1,2}(?=[^\s<>@]{1,100}@)")
_QUOTATION_MARKS = "\"'“”„«»"


def attribution_begin(lines: Sequence[Line], begin: int, last: int) -> int | None:
    """The first line of the attribution that ends with line `last`, at or after line `begin`."""
    tail = lines[last].text
    if len(tail) > _LONGEST or not tail.endswith((":", "：", ">", "-", "*", "_", *FINAL_VERBS)):
        return None
    quote_follows = next(
        (line.quoted for line in lines[last + 1 : last + 4] if line.text or line.quoted), False
    )
    first: int | None = None
    complete = False
    text = ""
    for at in range(last, max(begin, last - _MOST_LINES + 1) - 1, -1):
        line = lines[at]
        if line.quoted or not line.text or len(text) + len(line.text) > _LONGEST:
            break
        text = _joined(line.text, text)
        opened = bool(_OPENER.match(text))
        # "On Tue, Feb" can stand above "3, 2026, Ann wrote:".
        if complete and (not opened or YEAR.search(line.text)):
            break
        if is_attribution(text, quote_follows=quote_follows):
            first, complete = at, opened or (has_date(text) and text[0] not in '<(["')
        if opened and first == at:
            break
    if (
        first is None
        or first == begin
        or any(ADDRESS.search(lines[at].text) for at in range(first, last + 1))
    ):
        return first
    # Gmail in Chinese: the name and the address, and on the next line the date.
    above = lines[first - 1].text[:_LONGEST].rstrip("于於 ")
    address = _FINAL_ADDRESS.search(above)
    return first - 1 if address and _is_name(above[: address.start()]) else first


def attribution_begins(lines: Sequence[Line]) -> bool:
    """Whether the first lines are an attribution."""
    text = ""
    for line in lines[:_MOST_LINES]:
        if len(text) + len(line.text) > _LONGEST or (text and not line.text):
            return False
        text = _joined(text, line.text)
        if is_attribution(text, quote_follows=False):
            return True
    return False


def is_attribution(text: str, *, quote_follows: bool) -> bool:
    """Whether the text, unwrapped, is an attribution. The text has at most 400 characters.

    If quoted lines follow, a date or a name suffices. Else "On 3 May our supplier wrote:" is a writer's own:
    an attribution then has a date, a time, and an address or a name.
    """
    text = text.strip("*_ ")
    if text.startswith("--") and text.endswith("--"):  # Zoho: "---- On ... wrote ----"
        text = text.strip("- ") + ":"
    if text.endswith((":", "：")):
        text = text.rstrip(":： -")
        if not quote_follows:
            own_words = any(word.strip(",.()") in OWN_WORDS for word in text.split())
            own_words |= any(match[1].islower() for match in _WORD_AND_ADDRESS.finditer(text))
            if own_words or not has_date(text) or not has_time(text):
                return False
        return (
            _has_final_verb(text, quote_follows)
            or _has_middle_verb(text, quote_follows)
            or _has_no_verb(text)
        )
    if _FINAL_ADDRESS_AND_VERB.search(text):  # Zoho's app
        return bool(has_date(text) and has_time(text) and _OPENER.match(text))
    # Gmail, until about 2014: "2013/10/2 Ann <ann@example.org>"
    return quote_follows and bool(_ISO_DATE.match(text) and _FINAL_ADDRESS.search(text))


def _has_final_verb(text: str, quote_follows: bool) -> bool:
    """The most frequent form: "On Tue, Feb 3, 2026 at 10:11 AM Ann <ann@example.org> wrote:"."""
    verb = next((verb for verb in FINAL_VERBS if text.endswith(verb)), None)
    if verb is None:
        return False
    before = text[: -len(verb)]
    if before[-1:].isalpha() and verb < "\u0e00":  # in the middle of a word; other scripts have no spaces
        return False
    before = before.rstrip()
    words = [word.strip(_QUOTATION_MARKS) for word in before.split()]
    if ADDRESS.search(before):
        return True
    if quote_follows:
        if _OPENING_WORD.match(text) or _is_name(before) or (has_date(before) and has_time(before)):
            return True
        return has_date(before) and words[-1].lower() not in OWN_WORDS
    name = [*takewhile(_is_name_word, reversed(words))]
    # A script without capital letters has no sign of a name.
    return bool(name) and name[-1] not in PARTICLES and name[0].lower() != name[0]


def _has_middle_verb(text: str, quote_follows: bool) -> bool:
    """German and others: "Am 3.2.2026 um 10:11 schrieb Ann:" and "Ann schrieb am 3.2.2026 um 10:11:"."""
    for verb in MIDDLE_VERBS:
        before, separator, after = f" {text} ".partition(verb)
        if not separator:
            continue
        before, after = before.strip(), after.strip()
        if not quote_follows and not ADDRESS.search(text):
            name = next(filter(_is_name, (before, after)), "")
            if name == name.lower():
                continue
        if (
            len(after) < 120
            and (has_date(text) or has_time(before))
            and (_OPENER.match(text) or _WEEKDAY.match(before))
        ):
            return True
        named = bool(ADDRESS.search(before) or _is_name(before) or ADDRESS.search(after))
        if named and has_date(after):
            return True
    return False


def _has_no_verb(text: str) -> bool:
    """Gmail in Russian and in Japanese, and Yandex: "2026年2月3日(火) 10:11 Ann <ann@example.org>:"."""
    return bool(
        has_date(text)
        and has_time(text)
        and _FINAL_ADDRESS.search(text)
        and (_OPENER.match(text) or _WEEKDAY.match(text))
    )


def _is_name(text: str) -> bool:
    """Whether the text is like a person's name: up to five words, none in lower case and none a number."""
    words = text.strip(f"{_QUOTATION_MARKS} ").split()
    return 0 < len(words) <= 5 and all(map(_is_name_word, words)) and words[0] not in PARTICLES


def _is_name_word(word: str) -> bool:
    """Whether the word may stand in a person's name: "Ann", "王小明", and "von"."""
    return word in PARTICLES or (bool(word) and not word[0].islower() and any(map(str.isalpha, word)))


def _joined(line: str, below: str) -> str:
    within_address = line.endswith(("<", "(", "[")) or below.startswith((">", ")", "]"))
    return f"{line}{'' if within_address else ' '}{below}".strip()
