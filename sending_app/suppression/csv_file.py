"""Suppressions as a CSV file: ours, and the exports of SendGrid's console."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TextIO

from events_app.shared.moments import parse_moment
from sending_app.models import Suppression
from sending_app.suppression.manual import storable_address, storable_scope
from sending_app.suppression.record import Word

#: The columns of an export.
COLUMNS = ("address", "scope", "reason", "since", "until", "source")

#: The names of the columns that an import reads, in lower case.
_READ: Mapping[str, Sequence[str]] = {
    "address": ("address", "email", "email address", "e-mail"),
    "scope": ("scope",),
    "reason": ("reason",),
    "since": ("since", "created", "created_at"),
    "until": ("until",),
}

#: Spreadsheets run a cell that begins so as a formula (OWASP, "CSV Injection").
_FORMULA = tuple("=+-@\t\r")

#: Tells a spreadsheet that a cell is text. An export puts the quote before such cells, and an import takes
#: the quote away. Cells that begin with a quote get one more.
_QUOTE = "'"

#: Clocks may differ so much. A word with a later time would win over every other word until then.
_FUTURE = timedelta(days=1)

_REASONS: Mapping[str, Suppression.Reason] = {reason.value: reason for reason in Suppression.Reason}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """The file is no list of suppressions. The text says what to change."""


class BadLine(NamedTuple):
    #: The first line is 1.
    number: int
    why: str


def cells(rows: Iterable[Suppression]) -> Iterator[Sequence[str]]:
    """The header, and the cells of each row. `read_words` reads them back."""
    yield COLUMNS
    for row in rows:
        until = row.until.isoformat() if row.until else ""
        texts = (row.address, row.scope, row.reason, row.since.isoformat(), until, row.source)
        yield [_QUOTE + text if text.startswith((*_FORMULA, _QUOTE)) else text for text in texts]


def read_words(file: TextIO, reason: Suppression.Reason | None, now: datetime) -> Iterator[Word | BadLine]:
    """The word of each line, or why there is none. Empty lines are skipped.

    `reason` is for lines without one of our reasons: the `reason` of SendGrid's exports is a mail server's
    answer. A line without a time is a word of `now`. Raises Unreadable before the first line.
    """
    header = file.readline()
    # Spreadsheets write the separator of their country.
    separator = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    columns = _Columns.named(names, has_reason=reason is not None)
    # Strict: otherwise a cell whose quotation mark is open swallows the following lines without an error.
    reader = csv.reader(file, delimiter=separator, strict=True)
    while True:
        number = reader.line_num + 2
        try:
            line = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(number, f"up to line {reader.line_num + 1}: {error}. Is a quotation mark open?")
            continue
        if not any(map(str.strip, line)):
            continue
        try:
            yield columns.word(line, reason, now)
        except ValueError as error:
            yield BadLine(number, str(error))


@dataclass(frozen=True)
class _Columns:
    #: The places of the columns by their names in `_READ`.
    places: Mapping[str, int]

    @classmethod
    def named(cls, names: Sequence[str], *, has_reason: bool) -> "_Columns":
        """Raises Unreadable."""
        lower = [name.strip().lower() for name in names]
        places = {
            column: lower.index(known)
            for column, spellings in _READ.items()
            for known in reversed(spellings)
            if known in lower
        }
        if "address" not in places:
            raise Unreadable(
                "The first line must name the columns, one of them address or email; further ones are "
                f"{', '.join(list(_READ)[1:])}. The file must be CSV in UTF-8."
            )
        if "reason" not in places and not has_reason:
            raise Unreadable("The file has no column reason: give the reason of all lines with --reason.")
        return cls(places)

    def word(self, line: Sequence[str], reason: Suppression.Reason | None, now: datetime) -> Word:
        """Raises ValueError for an unusable cell."""
        until = self._cell(line, "until")
        return Word(
            address=storable_address(self._cell(line, "address")),
            scope=storable_scope(self._cell(line, "scope")),
            reason=_reason(self._cell(line, "reason"), reason),
            at=_past(self._cell(line, "since"), now),
            until=_time(until) if until else None,
            source=Suppression.Source.IMPORT,
        )

    def _cell(self, line: Sequence[str], column: str) -> str:
        place = self.places.get(column)
        if place is None or place >= len(line):
            return ""
        cell = line[place].strip(" ")
        return cell[1:] if cell[:1] == _QUOTE and cell[1:].startswith((*_FORMULA, _QUOTE)) else cell


def _reason(written: str, fallback: Suppression.Reason | None) -> Suppression.Reason:
    reason = _REASONS.get(written.lower(), fallback)
    if reason is None:
        known = ", ".join(_REASONS)
        raise ValueError(f"{written[:60]!r} is no reason ({known}). --reason gives one to such lines.")
    return reason


def _past(written: str, now: datetime) -> datetime:
    time = _time(written) if written else now
    if time > now + _FUTURE:
        raise ValueError(f"the time {written!r} lies in the future")
    return time


def _time(written: str) -> datetime:
    """The time of Unix seconds (as in SendGrid's exports) or of an ISO text, in UTC without an offset."""
    try:
        if written.isascii() and written.isdecimal():
            return _EPOCH + timedelta(seconds=int(written))
        return parse_moment(written.removesuffix(" UTC"))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{written[:60]!r} is no time. Write 2026-07-14, 2026-07-14T06:30 (in UTC) or Unix seconds."
        ) from None
