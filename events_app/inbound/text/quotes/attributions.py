"""The line above a quoted mail that names time and writer: "On Tue, Feb 3, 2026, Ann wrote:"."""

import re
from collections.abc import Sequence

from events_app.inbound.text.quotes.line import Line
from events_app.inbound.text.quotes.phrases import FINAL_VERBS, MIDDLE_VERBS, OPENERS

# Mail programs wrap an attribution at about 75 characters. Names and addresses can be long.
_MOST_LINES = 5
_LONGEST = 400

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_NUMERIC_DATE = re.compile(r"(?<!\d)\d{1,4}([./-]) ?\d{1,2}\1 ?\d{1,4}(?!\d)")
_TIME = re.compile(r"(?<!\d)\d{1,2}[:.]\d\d(?!\d)")
_DAY = re.compile(r"(?<!\d)\d{1,2}(?!\d)")

_ADDRESS = re.compile(r"[^\s<>@]@[^\s<>@]")
_FINAL_ADDRESS = re.compile(r"[<\[(][^\s<>@]{1,100}@[^\s<>@]{1,200}>?[>\])]\Z")
_FINAL_ADDRESS_AND_VERB = re.compile(
    rf"[^\s<>@]@[^\s<>@]{{1,200}}> (?:{'|'.join(map(re.escape, FINAL_VERBS))})\Z"
)

_ANY_OPENER = f"(?:{'|'.join(map(re.escape, OPENERS))})"
_OPENING_WORD = re.compile(rf"{_ANY_OPENER}\b", re.IGNORECASE)
# Up to three words stand before the day: "Am Dienstag, den 3." and "Il giorno mar 3".
_OPENER = re.compile(rf"{_ANY_OPENER}[ ,]*(?:[^\W\d]{{1,15}}[.,'׳]{{0,2}} ?){{0,3}}\d", re.IGNORECASE)
_WEEKDAY = re.compile(r"(?:[^\W\d]{1,15}\.?,? ?)?\d")
_ISO_DATE = re.compile(r"\d{4}[/-]\d{1,2}[/-]\d{1,2} ")

# "On 1 May you wrote:" can be a writer's own words. Mail programs write a name.
_PRONOUNS = frozenset({"i", "we", "he", "she", "they", "you", "who", "it", "someone"})


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
        if complete and (not opened or _YEAR.search(line.text)):
            break
        if is_attribution(text, quote_follows=quote_follows):
            first, complete = at, opened or (_has_date(text) and text[0] not in '<(["')
        if opened and first == at:
            break
    if (
        first is None
        or first == begin
        or any(_ADDRESS.search(lines[at].text) for at in range(first, last + 1))
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

    If quoted lines follow, a name suffices in place of a date.
    """
    text = text.strip("*_ ")
    if text.startswith("--") and text.endswith("--"):  # Zoho: "---- On ... wrote ----"
        text = text.strip("- ") + ":"
    if text.endswith((":", "：")):
        text = text.rstrip(":： -")
        return _has_final_verb(text, quote_follows) or _has_middle_verb(text) or _has_no_verb(text)
    if _FINAL_ADDRESS_AND_VERB.search(text):  # Zoho's app
        return bool(_is_dated(text) and _TIME.search(text) and _OPENER.match(text))
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
    if _ADDRESS.search(before) or (_is_dated(before) and _TIME.search(before)):
        return True
    if quote_follows and (_OPENING_WORD.match(text) or _is_name(before)):
        return True
    own_words = before.rpartition(" ")[2].lower() in _PRONOUNS
    return not own_words and bool(_is_dated(before) or _OPENER.match(text))


def _has_middle_verb(text: str) -> bool:
    """German and others: "Am 3.2.2026 um 10:11 schrieb Ann:" and "Ann schrieb am 3.2.2026 um 10:11:"."""
    for verb in MIDDLE_VERBS:
        before, separator, after = f" {text} ".partition(verb)
        if not separator:
            continue
        before, after = before.strip(), after.strip()
        if (
            len(after) < 120
            and (_is_dated(text) or _TIME.search(before))
            and (_OPENER.match(text) or _WEEKDAY.match(before))
        ):
            return True
        named = _ADDRESS.search(before) or _is_name(before) or _ADDRESS.search(after)
        if named and _is_dated(after):
            return True
    return False


def _has_no_verb(text: str) -> bool:
    """Gmail in Russian and in Japanese, and Yandex: "2026年2月3日(火) 10:11 Ann <ann@example.org>:"."""
    return bool(
        _is_dated(text)
        and _TIME.search(text)
        and _FINAL_ADDRESS.search(text)
        and (_OPENER.match(text) or _WEEKDAY.match(text))
    )


def _is_dated(text: str) -> bool:
    return bool(_YEAR.search(text) or _NUMERIC_DATE.search(text))


def _has_date(text: str) -> bool:
    """Whether the text has a numeric date, or a year and a day."""
    if _NUMERIC_DATE.search(text):
        return True
    return bool(_YEAR.search(text) and _DAY.search(_TIME.sub("", _YEAR.sub("", text))))


def _is_name(text: str) -> bool:
    """Whether the text is like a person's name: at most five words, none of them in lower case."""
    words = text.strip("\"'“”„«» ").split()
    return 0 < len(words) <= 5 and not any(word[0].islower() for word in words)


def _joined(line: str, below: str) -> str:
    within_address = line.endswith(("<", "(", "[")) or below.startswith((">", ")", "]"))
    return f"{line}{'' if within_address else ' '}{below}".strip()
