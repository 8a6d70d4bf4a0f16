"""Runs calls with a hard deadline.

A library that waits for a server without a timeout cannot be interrupted. So the call runs in a separate
thread, and the caller stops waiting at the deadline.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

T = TypeVar("T")

# Seconds after which an idle thread ends.
_IDLE = 30.0


class DeadlineExceeded(Exception):
    """The call did not return in time, or too many earlier calls have not returned yet."""


class Threads:
    """A pool of daemon threads. The last thread to become idle works next.

    At the deadline the pool abandons the thread. An abandoned thread ends when the call returns, if ever.
    With `most_late` abandoned threads, the pool refuses new calls.
    """

    def __init__(self, name: str, most_late: int) -> None:
        self.late = 0
        self._name = name
        self._most_late = most_late
        self._forget()
        # A forked child has no threads of the parent.
        os.register_at_fork(after_in_child=self._forget)

    def run(self, call: Callable[[], T], seconds: float) -> T:
        """Return the call's result. Raises the call's exception, or DeadlineExceeded."""
        if self.late >= self._most_late:
            raise DeadlineExceeded
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = _Thread(self._name, self)
        job = _Job(call)
        thread.jobs.put(job)
        try:
            answer, error = job.outcome.get(timeout=max(seconds, 0))
        except Empty:
            self._abandon(thread, job)
            raise DeadlineExceeded from None
        except BaseException:  # such as a time limit of Celery's
            self._abandon(thread, job)
            raise
        self._idle.append(thread)
        if error is not None:
            raise error
        return cast(T, answer)

    def returned(self, job: "_Job") -> bool:
        """Record the return of the job's call. False if the caller has given up."""
        with self._lock:
            job.returned = True
            self.late -= job.abandoned
            return not job.abandoned

    def retire(self, thread: "_Thread") -> bool:
        """Remove an idle thread from the pool. False if a caller has just taken the thread."""
        with suppress(ValueError):
            self._idle.remove(thread)
            return True
        return False

    def _abandon(self, thread: "_Thread", job: "_Job") -> None:
        with self._lock:
            if job.returned:
                self._idle.append(thread)
            else:
                job.abandoned = True
                self.late += 1

    def _forget(self) -> None:
        self.late = 0
        self._lock = threading.Lock()
        self._idle: list[_Thread] = []


class _Job:
    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.outcome = SimpleQueue[tuple[Any, BaseException | None]]()
        self.returned = self.abandoned = False


class _Thread(threading.Thread):
    def __init__(self, name: str, threads: Threads) -> None:
        super().__init__(name=name, daemon=True)
        self.jobs = SimpleQueue[_Job]()
        self._threads = threads
        self.start()

    def run(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE)
            except Empty:
                if self._threads.retire(self):
                    return
                continue
            answer, error = None, None
            try:
                answer = job.call()
            except BaseException as raised:  # noqa: BLE001 (raised again in the caller)
                error = raised
            if not self._threads.returned(job):
                return
            job.outcome.put((answer, error))
            del job, answer, error  # do not keep the objects alive while idle
