"""Calls that may never return, each with a hard deadline.

Nobody can interrupt a library that waits for a server without a time limit. So the call runs in a thread of
its own, and its caller stops waiting.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

T = TypeVar("T")

# Seconds after which a thread without work ends.
_IDLE = 30.0


class DeadlineExceeded(Exception):
    """The call has not returned in time, or too many calls before have not returned yet."""


class Threads:
    """Daemon threads that make such calls, reused: the last one to be idle is the next to work.

    A thread whose call is late is abandoned. It ends when its call returns, if ever. While `most_late` of
    them are left, no call is made.
    """

    def __init__(self, name: str, most_late: int) -> None:
        self.late = 0
        self._name = name
        self._most_late = most_late
        self._forget()
        # A fork has none of its parent's threads.
        os.register_at_fork(after_in_child=self._forget)

    def run(self, call: Callable[[], T], seconds: float) -> T:
        """The call's result, or the exception it raised. Raises DeadlineExceeded."""
        if self.late >= self._most_late:
            raise DeadlineExceeded
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = _Thread(self._name, self)
        job = _Job(call)
        thread.jobs.put(job)
        try:
            result, error = job.outcome.get(timeout=seconds)
        except Empty:
            self._abandon(thread, job)
            raise DeadlineExceeded from None
        except BaseException:  # a time limit of Celery's, say
            self._abandon(thread, job)
            raise
        self._idle.append(thread)
        if error is not None:
            raise error
        return cast(T, result)

    def returned(self, job: "_Job") -> bool:
        """Note that the job's call has returned. False where its caller has given up."""
        with self._lock:
            job.returned = True
            self.late -= job.abandoned
            return not job.abandoned

    def retire(self, thread: "_Thread") -> bool:
        """Let an idle thread end. False where a caller has just taken it."""
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
            result, error = None, None
            try:
                result = job.call()
            except BaseException as raised:  # noqa: BLE001 (the caller's to judge)
                error = raised
            if not self._threads.returned(job):
                return
            job.outcome.put((result, error))
            del job, result, error  # until the next one comes, nobody needs them
