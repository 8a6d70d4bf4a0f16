"""Files through which receivers in other processes report their calls, and a test orders their behaviour.

Files outlive a killed process and need no database.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

#: Called by a receiver with a function that says whether the order still stands.
Behaviour: TypeAlias = Callable[[Callable[[], bool]], None]

#: More attempts than any receiver is given.
ALWAYS = 1_000_000


class Call(NamedTuple):
    """One call of one receiver."""

    receiver: str
    event_id: str
    attempt: int
    replay: bool


class ReceivedMail(NamedTuple):
    """An inbound mail as a receiver has read it."""

    message_id: str
    subject: str
    text: str
    envelope_recipients: list[str]
    #: SHA-256 of each, by the file's name.
    attachments: dict[str, str]
    answers: str | None
    duplicate_of: str | None


class CallLog:
    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self._mails = folder / "received_mails"
        self._orders = folder / "orders"

    def add(self, call: Call) -> None:
        _append(self._calls, call)

    def calls(self) -> list[Call]:
        """All calls in the order they were made."""
        return [Call(*line) for line in _lines(self._calls)]

    def add_mail(self, mail: ReceivedMail) -> None:
        _append(self._mails, mail)

    def mails(self) -> list[ReceivedMail]:
        return [ReceivedMail(*line) for line in _lines(self._mails)]

    def order(self, event_id: str, behaviour: Behaviour, tries: int = ALWAYS) -> None:
        """Have the receiver `second` do this with the event, in its first `tries` attempts."""
        self._write({**self._read(), event_id: (behaviour.__name__, tries)})

    def withdraw(self, event_id: str) -> None:
        self._write({other: order for other, order in self._read().items() if other != event_id})

    def ordered(self, event_id: str, attempt: int) -> str | None:
        """The name of the behaviour that is ordered for this attempt."""
        behaviour, tries = self._read().get(event_id, (None, 0))
        return behaviour if attempt <= tries else None

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


class WatchdogRounds:
    """Counts the checks that the watchdogs of all workers have made."""

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
