"""Output of operators' commands: text that fits a terminal and cannot control it, and JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from events_app.shared.escaping import one_line, printable

#: Width of the last cell but one on a terminal, at most.
WIDEST = 60

#: Columns of a terminal for the last cell of a row. If fewer are left, the cell goes on the next line.
LEAST_FOR_LAST_CELL = 40


@dataclass
class Table:
    """Rows below a header, with numbers at the right of their columns.

    On a terminal, lines are cut to its `width`. The last cell but one is cut first.
    """

    header: Sequence[str]
    width: int | None = None
    indent: str = ""
    _widths: list[int] = field(default_factory=list, init=False)
    _numbers: set[int] = field(default_factory=set, init=False)
    _on_one_line: bool = field(default=True, init=False)

    def lines(self, rows: Sequence[Sequence[object]]) -> Iterator[str]:
        """The lines of the rows. Widths are those of the first rows, which follow the header."""
        if not rows:
            return
        texts = [[_cell(value) for value in row] for row in rows]
        if not self._widths:
            self._numbers = {at for row in rows for at, value in enumerate(row) if isinstance(value, int)}
            self._widths = [max(map(len, column)) for column in zip(self.header, *texts, strict=True)]
            if self.width is not None:
                room = self.width - sum(self._widths[:-2]) - 2 * len(self._widths[:-2])
                self._widths[-2] = max(min(self._widths[-2], room, WIDEST), len(self.header[-2]))
                self._on_one_line = room - self._widths[-2] - 2 >= LEAST_FOR_LAST_CELL
            texts.insert(0, [*self.header[:-1], self.header[-1] if self._on_one_line else ""])
        for cells in texts:
            if self.width is not None:
                cells[-2] = cut(cells[-2], self._widths[-2])
            padded = [
                cell.rjust(width) if at in self._numbers else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
            ]
            first_line = padded if self._on_one_line else padded[:-1]
            yield cut((self.indent + "  ".join(first_line)).rstrip(), self.width)
            if cells[-1] and not self._on_one_line:
                yield cut(" " * (self._widths[0] + 2) + cells[-1], self.width)


def section(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table after an empty line. Without rows, nothing."""
    if rows:
        yield ""
        yield from Table(header).lines(rows)


def fields(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each value that is not empty, with its name."""
    for name, value in values.items():
        if value in (None, "", [], {}):
            continue
        text = str(value)
        if isinstance(value, datetime):
            with suppress(OverflowError):  # a mail's Date may be at the end of time
                text = f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        elif isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, dict | list):
            text = dump(value)
        # Indented, so that no line of a value looks like a field.
        yield f"  {name:<15}{printable(text)}".replace("\n", f"\n{' ' * 17}")


def indented(text: str) -> Iterator[str]:
    for line in printable(text).strip("\n").split("\n"):
        yield f"    {line}".rstrip()


def cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def span(seconds: int) -> str:
    """An approximate duration in words."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{timedelta(seconds=seconds) // timedelta(seconds=size)} {name}"
    return counted(seconds, "second")


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def dump(content: object) -> str:
    """One line of JSON."""
    # SendGrid's posts may have NaN, which JSON lacks: it goes out as text.
    return json.dumps(json.loads(json.dumps(content, default=_plain), parse_constant=str))


def attributes(row: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    if isinstance(value, tuple):
        return ", ".join(map(_cell, value))
    return one_line(str(value).replace("\n", " ")).strip()
