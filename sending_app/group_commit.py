"""Group commit: one thread of a process writes for all threads that wait, in one statement.

A commit waits for the disk, and a statement costs CPU time in this process and in the database. Threads that
write at the same time share both. A process with a single thread writes each request alone.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import Error

Request = TypeVar("Request")
Result = TypeVar("Result")

#: Seconds that a thread waits for further requests before a write, like PostgreSQL's `commit_delay`.
DELAY = 0.005


class _Waiting(Generic[Request, Result]):
    """The request of a thread."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_over = False
        #: Empty if the shared write failed.
        self.results: list[Result] = []


class GroupCommit(Generic[Request, Result]):
    def __init__(self, write: Callable[[Sequence[Request]], Sequence[Result]]) -> None:
        """`write` makes one write of all requests, and returns their results in the same order."""
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[Request, Result]] = []
        #: The request of the writing thread, and the requests of the write.
        self._writer: _Waiting[Request, Result] | None = None
        self._group: list[_Waiting[Request, Result]] = []
        #: The last write had several requests, so that the next may have several too.
        self._is_busy = False

    def submit(self, request: Request) -> Result:
        """Write the request, together with those of other threads. Raises as `write` does.

        If the database refuses a shared write, each thread writes alone: no request fails for another.
        """
        own = _Waiting[Request, Result](request)
        try:
            if self._is_first(own):
                self._write_waiting()
            self._end(own)
        except BaseException:  # perhaps a time limit, at any line: no thread is left to use the result
            self._end(own)
            raise
        return own.results[0] if own.results else self._write([request])[0]

    def _is_first(self, own: _Waiting[Request, Result]) -> bool:
        """Wait until another thread has written the request, or until this thread may write."""
        with self._changed:
            self._waiting.append(own)
            self._changed.wait_for(lambda: own.is_over or not self._writer)
            if not own.is_over:
                self._writer = own
            return not own.is_over

    def _write_waiting(self) -> None:
        if self._is_busy:
            time.sleep(DELAY)
        with self._changed:
            self._group, self._waiting = self._waiting, []
        try:
            results = self._write([waiting.request for waiting in self._group])
        except Error:
            if len(self._group) == 1:
                raise
            return
        for waiting, result in zip(self._group, results, strict=True):
            waiting.results.append(result)

    def _end(self, own: _Waiting[Request, Result]) -> None:
        """Let the other threads go on. A repeat is harmless."""
        with self._changed:
            if own in self._waiting:
                self._waiting.remove(own)
            if self._writer is own:
                for waiting in self._group:
                    waiting.is_over = True
                self._is_busy = len(self._group) > 1
                self._group, self._writer = [], None
                self._changed.notify_all()
