"""The faults of `./dev chaos`, who starts again what they end, the load, and who watches the workers."""

import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import requests
from redis import Redis, RedisError

from fake_sendgrid.events import history
from fake_sendgrid.webhook import Sender, batch
from ground.process import Process
from ground.pulse import TASKS
from ground.stack import BIN, EVENT_QUEUES, MAIL_QUEUES, ROOT, Stack
from ground.valkey import Valkey


class Kind(NamedTuple):
    words: str
    #: How many of this kind there are in a round of faults.
    weight: int
    #: Seconds it lasts, drawn anew each time.
    lasts: tuple[float, float] = (0, 0)


KINDS = {
    "cut": Kind("all connections to Valkey cut", 6),
    "cut-pubsub": Kind("its pub/sub connections cut", 4),
    "freeze": Kind("Valkey frozen for 1 to 10 s", 4, (1, 10)),
    "restart": Kind("Valkey killed, started 0 to 3 s later", 4, (0, 3)),
    "sleep": Kind("worker frozen while Valkey is restarted", 1, (0, 3)),
    "kill": Kind("worker killed", 3),
}


class Fault(NamedTuple):
    #: Seconds from the start of the storm, at the earliest.
    at: float
    kind: str
    lasts: float
    #: The role of the worker it is for, where it is for one.
    role: str


def plan(faults: int, seconds: float, seed: int, kinds: Sequence[str]) -> Iterator[Fault]:
    """So many faults, spread over the time. The same arguments make the same faults."""
    chance = random.Random(seed)
    bag: list[str] = []
    for number in range(faults):
        if not bag:
            bag = [kind for kind in kinds for _ in range(KINDS[kind].weight)]
            chance.shuffle(bag)
        kind = bag.pop()
        at = (number + chance.random()) * seconds / faults
        yield Fault(at, kind, chance.uniform(*KINDS[kind].lasts), chance.choice(WORKERS))


WORKERS = ("worker", "mailer")


class Supervised(Stack):
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


class Role:
    """One process of the deployment, started again whenever it ends, as a supervisor does."""

    def __init__(self, name: str, start: Callable[[str], Process], deployment: Supervised) -> None:
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
            # A name of its own each time: whether it is ready its log tells.
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

    def __init__(self, deployment: Supervised) -> None:
        self._deployment = deployment
        self.workers: dict[str, Role] = {}
        self._others: list[Role] = []

    def __enter__(self) -> Self:
        stack = self._deployment
        events: Callable[[str], Process] = lambda name: stack.worker(  # noqa: E731
            "--concurrency", "2", name=name, queues=EVENT_QUEUES
        )
        self._others = [self._role("web", lambda _: stack.web()), self._role("beat", lambda _: stack.beat())]
        self.workers = {
            "worker": self._role("worker", events),
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

    def _role(self, name: str, start: Callable[[str], Process]) -> Role:
        return Role(name, start, self._deployment)


class Pauses:
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
        self._tasks = folder / TASKS
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


class Poster:
    """Posts events as SendGrid does: again where a batch is not taken, and now and then where it is."""

    #: Seconds between two batches, and the events in one.
    EVERY, EVENTS = 0.4, 20

    def __init__(self, sender: Sender, url: str, seed: int) -> None:
        self._lock = threading.Lock()
        self._posted: set[str] = set()
        self._sender, self._url, self._seed = sender, url, seed
        self._chance = random.Random(seed)
        self._waiting: deque[tuple[list[str], bytes]] = deque()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poster of events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()

    def stop(self) -> None:
        """No new events; returns when all have been taken."""
        self._enough.set()
        self._thread.join()

    def taken(self, ids: Iterable[str]) -> None:
        """The webhook has answered 200."""
        with self._lock:
            self._posted.update(ids)

    @property
    def posted(self) -> set[str]:
        """The ids of all events that the webhook has taken."""
        with self._lock:
            return self._posted.copy()

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for number in itertools.count():
                began = time.monotonic()
                if not self._enough.is_set():
                    events = history(self.EVENTS, seed=self._seed * 1_000_000 + number)
                    self._waiting.append(([event["sg_event_id"] for event in events], batch(events)))
                elif not self._waiting:
                    return
                while self._waiting and self._post(*self._waiting[0], session):
                    taken = self._waiting.popleft()
                    if self._chance.random() < 0.05:
                        self._waiting.append(taken)
                time.sleep(max(0.05, self.EVERY - (time.monotonic() - began)))

    def _post(self, ids: list[str], body: bytes, session: requests.Session) -> bool:
        try:
            taken = self._sender.post(self._url, body, session=session).status_code == 200
        except requests.RequestException:
            return False
        if taken:
            self.taken(ids)
        return taken


class Storm:
    """Throws the faults."""

    def __init__(self, valkey: Valkey, supervisor: Supervisor, pauses: Pauses) -> None:
        #: How many faults of each kind have been thrown.
        self.done: Counter[str] = Counter()
        self._valkey = valkey
        self._supervisor = supervisor
        self._pauses = pauses

    def run(self, faults: Iterator[Fault], say: Callable[[float], None]) -> None:
        """Throw all of them, each when its time has come; `say` is called each minute, with the seconds."""
        began = time.monotonic()
        minutes = itertools.count(60, 60)
        due = next(minutes)
        for fault in faults:
            while (now := time.monotonic() - began) < fault.at:
                time.sleep(min(1, fault.at - now))
            if now >= due:
                say(now)
                due = next(minutes)
            self._throw(fault)
            self.done[fault.kind] += 1
        say(time.monotonic() - began)

    def _throw(self, fault: Fault) -> None:
        role = self._supervisor.workers[fault.role]
        match fault.kind:
            case "cut":
                self._cut("normal", "pubsub")
            case "cut-pubsub":
                self._cut("pubsub")
            case "freeze":
                with self._pauses.no_broker():
                    self._valkey.freeze()
                    time.sleep(fault.lasts)
                    self._valkey.thaw()
            case "restart":
                self._restart(fault.lasts)
            case "sleep":
                with role.asleep():
                    self._restart(fault.lasts)
            case "kill":
                role.kill()

    def _cut(self, *kinds: str) -> None:
        with closing(Redis.from_url(self._valkey.url(0))) as redis:
            for kind in kinds:
                redis.client_kill_filter(_type=kind)

    def _restart(self, downtime: float) -> None:
        with self._pauses.no_broker():
            self._valkey.kill()
            time.sleep(downtime)
            self._valkey.start()
