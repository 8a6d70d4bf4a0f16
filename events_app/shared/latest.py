"""The latest answer of this process to a costly question: many requests ask the servers once."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from events_app.shared import facts
from events_app.shared.facts import Depth, Reading

T = TypeVar("T")

#: Seconds for which a process gives the same answer: questions of strangers must stay cheap.
KEPT = 1.0

#: Seconds more until an answer is too old for a request that comes while another one asks.
GRACE = 4.0


class Latest(Generic[T]):
    """The latest answer of `read`, kept for some seconds."""

    def __init__(self, read: Callable[[], T], kept: float = KEPT) -> None:
        self._read, self._kept = read, kept
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self._answer: T | None = None
        self._asked = float("-inf")

    def get(self) -> T:
        """The latest answer. Raises the errors of `read`."""
        # A flood of requests must not fill the threads of the server with waiting ones.
        if self._lock.acquire(blocking=self._age() > self._kept + GRACE):
            try:
                if self._answer is None or self._age() > self._kept:
                    self._answer = self._read()
                    self._asked = time.monotonic()
            finally:
                self._lock.release()
        assert self._answer is not None
        return self._answer

    def _age(self) -> float:
        return time.monotonic() - self._asked


def latest_readings(depth: Depth, patience: float, kept: float = KEPT) -> Latest[tuple[Reading, ...]]:
    """The latest readings of all facts up to a depth. `patience` is as the `seconds` of `gather`."""
    return Latest(lambda: tuple(facts.gather(depth, seconds=patience)), kept)
