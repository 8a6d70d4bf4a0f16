"""What starts the processes of a deployment again, as often as they end."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from devstack.process import Process
from devstack.stack import BIN, EVENT_QUEUES, ROOT, Stack

#: The roles that serve queues.
WORKERS = ("worker", "mailer")


class SupervisedStack(Stack):
    """A deployment whose processes are at hand before they are ready."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        super().__init__(folder, settings)
        #: By the names they were started under.
        self.started: dict[str, Process] = {}

    def python(self, name: str, code: str) -> Process:
        """Start a process of the project's own code."""
        return self._start(name, BIN / "python", ROOT / "manage.py", "shell", "--verbosity", "0", "-c", code)

    def _start(self, name: str, *args: str | Path) -> Process:
        self.started[name] = process = super()._start(name, *args)
        return process


class SupervisedProcess:
    """One process of the deployment, started again whenever it ends, as a supervisor does."""

    def __init__(self, name: str, start: Callable[[str], Process], deployment: SupervisedStack) -> None:
        self.name = name
        self.is_ready = False
        #: How often it ended without our doing, or never got ready.
        self.ended = 0
        self._start = start
        self._deployment = deployment
        self._label = ""
        self._killed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervisor of {name}", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Kill the process; another one takes its place."""
        self.is_ready, self._killed = False, True
        if process := self._process:
            process.kill()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """The process is frozen meanwhile."""
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
        # Web and beat have one log for all their lives.
        started = self._deployment.started
        return started.get(self._label, started.get(self.name))

    def _run(self) -> None:
        for number in itertools.count(1):
            # A new name for each start: the log of this start shows whether the process is ready.
            self._killed, self._label = False, f"{self.name}-{number}"
            try:
                process = self._start(self._label)
            except (RuntimeError, TimeoutError) as failure:
                if self._over.is_set():
                    return
                self._note(str(failure).partition("\n")[0])
                if left := self._process:
                    left.kill()
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
    """What keeps web, beat, a worker for events and a mailer running."""

    def __init__(self, deployment: SupervisedStack) -> None:
        self._deployment = deployment
        self.workers: dict[str, SupervisedProcess] = {}
        self._others: list[SupervisedProcess] = []

    def __enter__(self) -> Self:
        stack = self._deployment

        def worker(name: str) -> Process:
            return stack.worker("--concurrency", "2", name=name, queues=EVENT_QUEUES)

        self._others = [self._role("web", lambda _: stack.web()), self._role("beat", lambda _: stack.beat())]
        self.workers = {
            "worker": self._role("worker", worker),
            "mailer": self._role("mailer", lambda name: stack.mailer(name=name)),
        }
        return self

    def __exit__(self, *_: object) -> None:
        for role in (*self._others, *self.workers.values()):
            role.stop()

    @property
    def ended(self) -> Counter[str]:
        """How often each process ended without our doing."""
        return Counter({role.name: role.ended for role in (*self.workers.values(), *self._others)})

    def _role(self, name: str, start: Callable[[str], Process]) -> SupervisedProcess:
        return SupervisedProcess(name, start, self._deployment)
