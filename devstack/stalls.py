"""Whether the workers of `./dev chaos` work."""

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
    """How long a worker does nothing while it could.

    A pause is the time in which a worker that is ready finishes no task although wake-ups wait in a queue of
    its own, added up while Valkey answers: seconds in which Valkey is frozen or away are left out, and so are
    those in which the worker is killed, frozen or not ready yet. It ends when the worker finishes a task, or
    when its queues are empty. Each queue has one worker here, so that no other one can do its work.

    A worker whose pause reaches `wedged_after` is counted and killed, so that the storm goes on.
    """

    #: Seconds between two looks.
    EVERY = 0.2

    def __init__(self, supervisor: Supervisor, valkey: Valkey, folder: Path, wedged_after: float) -> None:
        self.longest = dict.fromkeys(WORKERS, 0.0)
        self.wedged: Counter[str] = Counter()
        self._supervisor = supervisor
        self._broker = Redis.from_url(valkey.url(1), socket_timeout=1, socket_connect_timeout=1)
        self._tasks = folder / FINISHED_TASKS
        self._read = 0
        self._wedged_after = wedged_after
        self._pause = dict.fromkeys(WORKERS, 0.0)
        self._faults = 0
        self._is_away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pauses", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._broker.close()

    @contextmanager
    def no_broker(self) -> Iterator[None]:
        """Valkey does not answer meanwhile, and no worker is to blame."""
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
                    self._pause[name] = 0
                elif not self._is_away and same_fault:
                    self._look(name, now - before)
            before = now

    def _look(self, name: str, seconds: float) -> None:
        queues = MAIL_QUEUES if name == "mailer" else EVENT_QUEUES
        try:
            waits = any(self._broker.llen(queue) for queue in queues)
        except RedisError:  # a fault has just begun
            return
        pause = self._pause[name] = self._pause[name] + seconds if waits else 0
        self.longest[name] = max(self.longest[name], pause)
        if pause >= self._wedged_after:
            print(f"  {name} is wedged: no task finished for {pause:.0f} s, and wake-ups wait", flush=True)
            self.wedged[name] += 1
            self._supervisor.workers[name].kill()

    def _finished(self) -> Counter[str]:
        """How many tasks each worker has finished since the last look."""
        if not self._tasks.exists():
            return Counter()
        with self._tasks.open() as file:
            file.seek(self._read)
            lines = file.readlines()
            self._read = file.tell()
        return Counter(line.partition("-")[0] for line in lines)
