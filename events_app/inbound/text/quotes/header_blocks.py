"""The headers above a quoted mail, and the line above these: "-----Original Message-----"."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from events_app.inbound.text.quotes.line import Line
from events_app.inbound.text.quotes.phrases import (
    COPY,
    DATE,
    FORWARD_PHRASES,
    FROM,
    HEADER_KINDS,
    OTHER,
    RULED_PHRASES,
    SENT,
    SUBJECT,
    TO,
)
from events_app.inbound.text.quotes.signs import ADDRESS, has_date, has_time

_LONGEST_PHRASE = 120
_LONGEST_NAME = 35
_LONGEST_VALUE = 500

_MOST_LINES = 40
# A header's value can be wrapped. Lists of addresses are longer.
_WRAPPED_LINES = 2

_RULE = re.compile(r"[_=*\u2014\u2500-]{5,}\Z")
_RULING = "-\u2010\u2011\u2012\u2013\u2014_="
_DASHES = f"{_RULING}*> "
# A line of a form, such as "Message: please call me". No mail program has a header of an unknown name.
_FORM_LINE = re.compile(r"\W{0,3}[^\W\d][^\s:：]{0,30}(?: [^\s:：]{1,30}){0,2} ?[:：](?!//|(?<=\d:)\d|\S*@)")
_PHRASES = RULED_PHRASES | FORWARD_PHRASES


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
    without_colon = phrase.rstrip(":： ")
    if without_colon not in _PHRASES:
        return None
    begin = at + 1
    while begin < len(lines) and not lines[begin].text and not lines[begin].quoted:
        begin += 1
    headers = _headers(lines, begin)
    certain = without_colon in RULED_PHRASES and sum(map(text.count, _RULING)) >= 4
    if not certain and phrase != without_colon:
        # "Original message:" alone can be a writer's own words.
        quoted = begin < len(lines) and lines[begin].quoted
        ruled = any(is_rule(lines[line].text) for line in (at - 1, at + 1) if 0 <= line < len(lines))
        headed = FROM in headers.kinds and len(headers.kinds) >= 2 and not headers.in_form
        certain = quoted or ruled or headed
    if not certain:
        return None
    return headers.end if headers.kinds else at + 1


def block_end(lines: Sequence[Line], at: int) -> int | None:
    """The end of the headers that begin on line `at`: the sender's and two others, or one other below a rule.

    Forms, memos and bookings have such lines, too. A mail program writes the sender's address and the time,
    or the sender's name, "Sent" and "Subject"; no header has an unknown name.
    """
    if _header(lines[at].text)[0] not in (FROM, TO, DATE, SENT):
        return None
    headers = _headers(lines, at)
    line_above = lines[at - 1].text if at else ""
    in_form = _FORM_LINE.match(line_above) and not line_above.endswith((":", "："))  # "Look:" is no form's
    if not headers.is_sent or headers.in_form or in_form:
        return None
    above = next((lines[line].text for line in (at - 1, at - 2) if line >= 0 and lines[line].text), "")
    return headers.end if len(headers.kinds) >= 3 or is_rule(above) else None


class _Headers(NamedTuple):
    """Headers up to the line `end`."""

    end: int
    #: The kinds of the headers, without `OTHER`.
    kinds: set[str]
    #: The headers have a mail's sender and time.
    is_sent: bool
    #: A line of a form stands among the headers or directly below.
    in_form: bool


def _headers(lines: Sequence[Line], begin: int) -> _Headers:
    """The headers from line `begin`."""
    values: dict[str, str] = {}
    last = ""
    in_form = spaced = False
    end = begin
    wrapped = 0
    for at in range(begin, min(begin + _MOST_LINES, len(lines))):
        line = lines[at]
        kind, value = _header(line.text)
        if line.quoted or (kind in values and kind not in (COPY, OTHER)):
            break
        if kind is None:
            if values and (lines[at - 1].text or spaced) and _FORM_LINE.match(line.text):
                in_form = True
                break
            wrapped += 1
            if wrapped > _WRAPPED_LINES and not ADDRESS.search(line.text[:_LONGEST_VALUE]):
                break
            if values and at == end:
                values[last] += f" {line.text[:_LONGEST_VALUE]}"  # such as the sender's address
            continue
        spaced |= bool(values) and not lines[at - 1].text
        values[kind], last = value, kind
        end, wrapped = at + 1, 0
    sender = values.get(FROM, "")
    sent, date = values.get(SENT, ""), values.get(DATE, "")
    if ADDRESS.search(sender):
        is_sent = has_time(sent) or (has_date(date) and has_time(date))
    else:
        is_sent = SUBJECT in values and has_time(sent) and any(map(str.isalpha, sender))
    return _Headers(end, set(values) - {OTHER}, is_sent, in_form)


def _header(text: str) -> tuple[str | None, str]:
    """The kind of the header on a line, or None, and the header's value."""
    name, _, _ = text[:_LONGEST_NAME].replace("：", ":").partition(":")
    if len(name) in (len(text), _LONGEST_NAME):
        return None, ""
    return HEADER_KINDS.get(name.strip("* ").lower()), text[len(name) + 1 : _LONGEST_VALUE]
