"""Measures how long the workers of `./dev chaos` stall."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from redis import Redis, RedisError

from devstack.stack import EVENT_QUEUES, MAIL_QUEUES
from devstack.supervisor import WORKERS, Supervisor
from devstack.valkey import Valkey
from devstack.work_log import FINISHED_TASKS


class StallMonitor:
    """Watches each worker for stalls.

    A worker stalls while it is ready and finishes no task although wake-ups wait in its queues. The seconds
    in which Valkey is frozen or away do not count, nor those in which the worker is killed, frozen or not
    ready. A stall ends when the worker finishes a task or its queues are empty. Each queue has one worker
    here, so no other worker can empty it.

    A worker whose stall reaches `wedged_after` seconds counts as wedged. It is killed, so the run goes on.
    """

    #: Seconds between two measurements.
    EVERY = 0.2

    def __init__(self, supervisor: Supervisor, valkey: Valkey, folder: Path, wedged_after: float) -> None:
        self.longest = dict.fromkeys(WORKERS, 0.0)
        self.wedged: Counter[str] = Counter()
        self._supervisor = supervisor
        self._broker = Redis.from_url(valkey.url(1), socket_timeout=1, socket_connect_timeout=1)
        self._tasks = folder / FINISHED_TASKS
        self._read = 0
        self._wedged_after = wedged_after
        self._stall = dict.fromkeys(WORKERS, 0.0)
        self._faults = 0
        self._is_away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stall monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._broker.close()

    @contextmanager
    def broker_is_away(self) -> Iterator[None]:
        """Count no stall in this context, because Valkey does not respond."""
        self._faults += 1
        self._is_away = True
        try:
            yield
        finally:
            self._is_away = False

    def _run(self) -> None:
        before, faults = time.monotonic(), self._faults
        while not self._over.wait(self.EVERY):
            now, same_fault = time.monotonic(), faults == self._faults
            faults = self._faults
            finished = self._finished()
            for name in WORKERS:
                if finished[name] or not self._supervisor.workers[name].is_ready:
                    self._stall[name] = 0
                elif not self._is_away and same_fault:
                    self._measure(name, now - before)
            before = now

    def _measure(self, name: str, seconds: float) -> None:
        queues = MAIL_QUEUES if name == "mailer" else EVENT_QUEUES
        try:
            waits = any(self._broker.llen(queue) for queue in queues)
        except RedisError:  # a fault has just begun
            return
        stall = self._stall[name] = self._stall[name] + seconds if waits else 0
        self.longest[name] = max(self.longest[name], stall)
        if stall >= self._wedged_after:
            print(f"  {name} is wedged: no task finished for {stall:.0f} s, and wake-ups wait", flush=True)
            self.wedged[name] += 1
            self._supervisor.workers[name].kill()

    def _finished(self) -> Counter[str]:
        """Count the tasks that each worker has finished since the last call."""
        if not self._tasks.exists():
            return Counter()
        with self._tasks.open() as file:
            file.seek(self._read)
            lines = file.readlines()
            self._read = file.tell()
        return Counter(line.partition("-")[0] for line in lines)
