"""Stored events as text for a terminal, and as JSON for a pipe."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from events_app.decode import Unreadable
from events_app.models import Event, Work
from events_app.normalize import read
from events_app.search import state_of, work_of

#: Columns of a terminal that are left for why an event failed, or it gets a line of its own.
LEAST_FOR_WHY = 40

_MOST_FOR_RECIPIENT = 40
_HEADER = ("id", "received (UTC)", "type", "state", "tries", "recipient", "why")
_TRIES = 4  # the one column that stands to the right


class Table:
    """Events in rows that fit a terminal; of any width when `width` is None."""

    def __init__(self, width: int | None) -> None:
        self.width = width
        self._widths: list[int] = []
        self._why_beside = True

    def rows(self, events: Sequence[Event]) -> Iterator[str]:
        """The lines for some events, before the first ones a header."""
        rows = [_cells(event) for event in events]
        if not self._widths:
            self._measure(rows)
            yield next(self._lines(_HEADER))
        for row in rows:
            yield from self._lines(row)

    def _measure(self, rows: Sequence[tuple[str, ...]]) -> None:
        *self._widths, recipient, _ = (max(map(len, column)) for column in zip(_HEADER, *rows, strict=True))
        if self.width is not None:
            left = self.width - sum(self._widths) - 2 * len(self._widths)
            recipient = max(min(recipient, left, _MOST_FOR_RECIPIENT), len("recipient"))
            self._why_beside = left - recipient - 2 >= LEAST_FOR_WHY
        self._widths.append(recipient)

    def _lines(self, row: Sequence[str]) -> Iterator[str]:
        *cells, recipient, why = row
        cells.append(recipient if self.width is None else cut(recipient, self._widths[-1]))
        padded = [
            cell.rjust(width) if at == _TRIES else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
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
        padded = [
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()


def _cells(event: Event) -> tuple[str, ...]:
    work = work_of(event)
    return (
        str(event.pk),
        f"{event.received_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        event.event_type,
        state_of(work),
        str(work.failures + work.lapses) if work else "",
        printable(event.recipient),
        why(work) if work else "",
    )


def why(work: Work) -> str:
    """In one line: which receivers failed and with what, or else why the event stands where it does."""
    failed = [f"{name}: {last_words(work.receivers[name])}" for name in failed_receivers(work)]
    replay = "replay" if work.replay else ""
    return printable(" | ".join(failed) or work.error or replay).replace("\n", " ")


def failed_receivers(work: Work) -> list[str]:
    """Those whose last call failed; others may be owed the event as well."""
    return sorted(name for name, error in work.receivers.items() if error)


def last_words(error: str) -> str:
    """The error itself out of a traceback, without what follows in further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]


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


def as_json(event: Event) -> dict[str, Any]:
    """All there is in the columns, and the work."""
    work = work_of(event)
    columns = ("event_type", "event_id", "message_id", "recipient", "timestamp", "received_at", "door")
    of_work = ("failures", "lapses", "replay", "due", "receivers", "error")
    return {
        "id": event.pk,
        **{name: getattr(event, name) for name in columns},
        "state": state_of(work),
        "work": work and {name: getattr(work, name) for name in of_work},
    }


def in_full_as_json(event: Event) -> dict[str, Any]:
    """The same, with the event as it came, and as it is read today."""
    _, found, unreadable = _read(event)
    raw = bytes(event.raw).decode("utf-8", "backslashreplace")
    return {**as_json(event), "event": found, "unreadable": unreadable, "raw": raw}


def dump(found: object) -> str:
    """One line of JSON."""
    # NaN is read in what SendGrid posts, and no JSON: it goes out as text.
    return json.dumps(json.loads(json.dumps(found, default=_plain), parse_constant=str))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read(event: Event) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """The object as posted, the normalized event, and why it is none."""
    try:
        raw, found = read(bytes(event.raw))
    except Unreadable as error:
        return {}, None, str(error)
    return raw, {name: value for name, value in asdict(found).items() if name != "esp_event"}, ""


def page(event: Event) -> Iterator[str]:
    """Everything there is of one event."""
    work = work_of(event)
    raw, found, unreadable = _read(event)
    yield f"Event {event.pk}"
    yield from _fields(
        {
            "state": state_of(work),
            **(_of_work(work) if work else {}),
            "received": event.received_at,
            "door": event.door,
        }
    )
    yield "\nAs it is read today"
    yield from _fields({"unreadable": unreadable} if found is None else found)
    for name in failed_receivers(work) if work else ():
        yield f"\nReceiver {printable(name)}"
        yield from _indented(work.receivers[name] if work else "")
    yield "\nAs SendGrid posted it"
    posted = bytes(event.raw).decode("utf-8", "backslashreplace")
    yield from _indented(posted if found is None else json.dumps(raw, indent=2, ensure_ascii=False))


def _of_work(work: Work) -> dict[str, object]:
    waiting = sorted(work.receivers.keys() - failed_receivers(work))
    return {
        "reason": work.error,
        "failed tries": work.failures,
        "died workers": work.lapses,
        "replay": "yes" if work.replay else "",
        "due": work.due if work.state == Work.State.OWED else "",
        "failed": ", ".join(failed_receivers(work)),
        "not reached": ", ".join(waiting),
        "owed to": "" if work.receivers else "all receivers",
    }


def _fields(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            yield f"  {name:<15}{printable(_shown(value))}"


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return dump(value) if isinstance(value, dict | list) else str(value)


def _indented(text: str) -> Iterator[str]:
    for line in printable(text).strip("\n").split("\n"):
        yield f"    {line}".rstrip()
