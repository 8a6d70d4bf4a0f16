"""What the witness's receivers and a test tell each other.

In files: they outlive whatever is killed, and need no database.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

#: What a receiver may be told to do; it is handed a question: does the order still stand?
Deed: TypeAlias = Callable[[Callable[[], bool]], None]

#: More tries than there will be.
ALWAYS = 1_000_000


class Call(NamedTuple):
    """One call of one receiver, as it was told of it."""

    receiver: str
    event_id: str
    attempt: int
    replay: bool


class Letter(NamedTuple):
    """What one receiver has read in one inbound mail."""

    message_id: str
    subject: str
    text: str
    envelope_recipients: list[str]
    #: SHA-256 of each, by the file's name.
    attachments: dict[str, str]
    answers: str | None
    repeat_of: str | None


class Book:
    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self._letters = folder / "letters"
        self._orders = folder / "orders"

    def note(self, call: Call) -> None:
        _append(self._calls, call)

    def calls(self) -> list[Call]:
        """All calls in the order they were made."""
        return [Call(*line) for line in _lines(self._calls)]

    def copy(self, letter: Letter) -> None:
        _append(self._letters, letter)

    def letters(self) -> list[Letter]:
        return [Letter(*line) for line in _lines(self._letters)]

    def order(self, event_id: str, deed: Deed, tries: int = ALWAYS) -> None:
        """The receiver `second` does `deed` with this event, the first so many times it is tried."""
        self._write({**self._read(), event_id: (deed.__name__, tries)})

    def withdraw(self, event_id: str) -> None:
        self._write({other: order for other, order in self._read().items() if other != event_id})

    def ordered(self, event_id: str, attempt: int) -> str | None:
        """The name of the deed that is ordered for this try."""
        deed, tries = self._read().get(event_id, (None, 0))
        return deed if attempt <= tries else None

    def _read(self) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = (
            json.loads(self._orders.read_text()) if self._orders.exists() else {}
        )
        return found

    def _write(self, orders: dict[str, tuple[str, int]]) -> None:
        # A receiver that reads meanwhile is to find the old or the new.
        fresh = self._orders.with_suffix(".new")
        fresh.write_text(json.dumps(orders))
        fresh.rename(self._orders)


class Rounds:
    """The rounds that the watchdogs of all workers have gone."""

    def __init__(self, folder: Path) -> None:
        self._rounds = folder / "rounds"

    def add(self) -> None:
        _append(self._rounds, ())

    def count(self) -> int:
        return len(_lines(self._rounds))


def _append(path: Path, entry: tuple[object, ...]) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{json.dumps(entry)}\n".encode())
    os.close(file)


def _lines(path: Path) -> list[list[Any]]:
    if not path.exists():
        return []
    # A reader may see the first part of a line that a process is just appending.
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
