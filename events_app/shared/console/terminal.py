"""What operators' commands print: text that fits a terminal and does nothing to it; JSON for a pipe."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

#: Columns of a terminal that are left for why something is as it is, or it gets a line of its own.
LEAST_FOR_WHY = 40


@dataclass
class Table:
    """Rows that fit a terminal; of any width when `width` is None.

    The last cell of a row says why. The one before it is what may be cut.
    """

    header: Sequence[str]
    #: The column of numbers.
    numbers: frozenset[int]
    width: int | None
    #: Columns that what may be cut has at the most.
    most: int = 40
    _widths: list[int] = field(default_factory=list, init=False)
    _why_beside: bool = field(default=True, init=False)

    def lines(self, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        """The lines for some rows, before the first ones a header."""
        if not self._widths:
            self._measure(rows)
            yield next(self._lines(self.header))
        for row in rows:
            yield from self._lines(row)

    def _measure(self, rows: Sequence[Sequence[str]]) -> None:
        *self._widths, widest, _ = (max(map(len, column)) for column in zip(self.header, *rows, strict=True))
        if self.width is not None:
            left = self.width - sum(self._widths) - 2 * len(self._widths)
            widest = max(min(widest, left, self.most), len(self.header[-2]))
            self._why_beside = left - widest - 2 >= LEAST_FOR_WHY
        self._widths.append(widest)

    def _lines(self, row: Sequence[str]) -> Iterator[str]:
        *cells, last, why = row
        cells.append(last if self.width is None else cut(last, self._widths[-1]))
        padded = _padded(cells, self._widths, self.numbers)
        if self._why_beside:
            padded.append(why)
        yield cut("  ".join(padded).rstrip(), self.width)
        if why and not self._why_beside:
            yield cut(" " * (self._widths[0] + 2) + why, self.width)


def columns(header: Sequence[str], rows: Sequence[tuple[str | int, ...]]) -> Iterator[str]:
    """Rows below a header, numbers to the right of their columns. Nothing where there are no rows."""
    if not rows:
        return
    numbers = {at for at, cell in enumerate(rows[0]) if isinstance(cell, int)}
    cells = [[printable(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(_padded(row, widths, numbers)).rstrip()


def _padded(row: Sequence[str], widths: Sequence[int], numbers: "set[int] | frozenset[int]") -> list[str]:
    return [
        cell.rjust(width) if at in numbers else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def fields(found: dict[str, Any]) -> Iterator[str]:
    """One a line, by name; nothing of those that are empty."""
    for name, value in found.items():
        if value not in (None, "", [], {}):
            yield f"  {name:<15}{printable(_shown(value))}"


def indented(text: str) -> Iterator[str]:
    for line in printable(text).strip("\n").split("\n"):
        yield f"    {line}".rstrip()


def printable(text: str) -> str:
    """`text` with whatever is more than text to a terminal written out: others chose what is in it."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )


def cut(text: str, width: int | None) -> str:
    """`text` in so many columns."""
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def span(seconds: int) -> str:
    """A length of time, in words, about."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{timedelta(seconds=seconds) // timedelta(seconds=size)} {name}"
    return counted(seconds, "second")


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def dump(found: object) -> str:
    """One line of JSON."""
    # NaN is read in what SendGrid posts, and no JSON: it goes out as text.
    return json.dumps(json.loads(json.dumps(found, default=_plain), parse_constant=str))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return _in_utc(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return dump(value) if isinstance(value, dict | list) else str(value)


def _in_utc(time: datetime) -> str:
    try:
        return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:  # a mail's Date may be at the end of all time
        return str(time)
