"""Restarts the processes of a deployment whenever they exit."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from devstack.process import Process
from devstack.stack import EVENT_QUEUES, Stack

#: The supervised processes that serve queues.
WORKERS = ("worker", "mailer")


class SupervisedProcess:
    """One process of the deployment. It is restarted whenever it exits."""

    def __init__(self, name: str, start: Callable[[str], Process], deployment: Stack) -> None:
        self.name = name
        self.is_ready = False
        #: How often it exited by itself or never became ready.
        self.ended = 0
        self._start = start
        self._deployment = deployment
        self._label = ""
        self._killed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervisor of {name}", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Kill the process. A new one replaces it."""
        self.is_ready, self._killed = False, True
        if process := self._process:
            process.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the process (SIGSTOP) in this context."""
        process, self.is_ready = self._process, False
        if process:
            process.freeze()
        yield
        if process:
            process.thaw()
            self.is_ready = process is self._process and process.alive

    def stop(self) -> None:
        self._over.set()
        if process := self._process:
            process.stop()
        self._thread.join()

    @property
    def _process(self) -> Process | None:
        # Web and beat use the same log for every start.
        started = self._deployment.started
        return started.get(self._label, started.get(self.name))

    def _run(self) -> None:
        for number in itertools.count(1):
            # A new name gives each start its own log, which shows whether the process is ready.
            self._killed, self._label = False, f"{self.name}-{number}"
            try:
                process = self._start(self._label)
            except (RuntimeError, TimeoutError) as failure:
                if self._over.is_set():
                    return
                self._note(str(failure).partition("\n")[0])
                if unready := self._process:
                    unready.kill()
                continue
            print(f"  {self._label} is ready, process {process.pid}", flush=True)
            self.is_ready = True
            while process.alive:
                if self._over.wait(0.1):
                    process.stop()
                    return
            self.is_ready = False
            self._note(f"{self._label} ended with status {process.wait(0)}")

    def _note(self, what: str) -> None:
        if not self._killed:
            self.ended += 1
            print(f"  {what}", flush=True)


class Supervisor:
    """Keeps web, beat, a worker for events and a mailer running."""

    def __init__(self, deployment: Stack) -> None:
        self._deployment = deployment
        self.workers: dict[str, SupervisedProcess] = {}
        self._others: list[SupervisedProcess] = []

    def __enter__(self) -> Self:
        stack = self._deployment

        def worker(name: str) -> Process:
            return stack.worker("--concurrency", "2", name=name, queues=EVENT_QUEUES)

        self._others = [
            self._supervise("web", lambda _: stack.web()),
            self._supervise("beat", lambda _: stack.beat()),
        ]
        self.workers = {
            "worker": self._supervise("worker", worker),
            "mailer": self._supervise("mailer", lambda name: stack.mailer(name=name)),
        }
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._others, *self.workers.values()):
            process.stop()

    @property
    def ended(self) -> Counter[str]:
        """How often each process exited by itself."""
        processes = (*self.workers.values(), *self._others)
        return Counter({process.name: process.ended for process in processes})

    def _supervise(self, name: str, start: Callable[[str], Process]) -> SupervisedProcess:
        return SupervisedProcess(name, start, self._deployment)
