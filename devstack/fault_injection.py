"""The faults of `./dev chaos`, and the load during them."""

import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Self

import requests
from redis import Redis

from devstack.stalls import StallMonitor
from devstack.supervisor import WORKERS, Supervisor
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch


class FaultKind(NamedTuple):
    description: str
    #: The number of such faults in a round of faults.
    weight: int
    #: The range of its seconds; each fault draws its own.
    lasts: tuple[float, float] = (0, 0)


FAULT_KINDS = {
    "cut": FaultKind("all connections to Valkey cut", 6),
    "cut-pubsub": FaultKind("its pub/sub connections cut", 4),
    "freeze": FaultKind("Valkey frozen for 1 to 10 s", 4, (1, 10)),
    "restart": FaultKind("Valkey killed, started 0 to 3 s later", 4, (0, 3)),
    "sleep": FaultKind("worker frozen while Valkey is restarted", 1, (0, 3)),
    "kill": FaultKind("worker killed", 3),
}


class Fault(NamedTuple):
    #: The earliest time, in seconds from the start.
    at: float
    kind: str
    lasts: float
    #: The target of a fault that hits a worker. Faults of Valkey ignore the name.
    worker: str


def plan_faults(faults: int, seconds: float, seed: int, kinds: Sequence[str]) -> Iterator[Fault]:
    """Yield `faults` faults, spread over `seconds`. The same arguments make the same faults."""
    rng = random.Random(seed)
    round_: list[str] = []
    for number in range(faults):
        if not round_:
            round_ = [kind for kind in kinds for _ in range(FAULT_KINDS[kind].weight)]
            rng.shuffle(round_)
        kind = round_.pop()
        at = (number + rng.random()) * seconds / faults
        yield Fault(at, kind, rng.uniform(*FAULT_KINDS[kind].lasts), rng.choice(WORKERS))


class EventPoster:
    """Posts events as SendGrid does: retries failed posts, and repeats a few successful ones."""

    #: Seconds between two posts, and events in a post.
    EVERY, EVENTS = 0.4, 20

    def __init__(self, sender: WebhookSender, url: str, seed: int) -> None:
        self._lock = threading.Lock()
        self._posted: set[str] = set()
        self._sender, self._url, self._seed = sender, url, seed
        self._rng = random.Random(seed)
        self._waiting: deque[tuple[list[str], bytes]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poster of events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def stop(self) -> None:
        """Make no new events, and wait until all events have been accepted."""
        self._stopping.set()
        self._thread.join()

    def add_posted(self, ids: Iterable[str]) -> None:
        """Record events that the webhook has accepted (200)."""
        with self._lock:
            self._posted.update(ids)

    @property
    def posted(self) -> set[str]:
        """The ids of all events that the webhook has accepted."""
        with self._lock:
            return self._posted.copy()

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for number in itertools.count():
                began = time.monotonic()
                if not self._stopping.is_set():
                    events = generate_events(self.EVENTS, seed=self._seed * 1_000_000 + number)
                    self._waiting.append(([event["sg_event_id"] for event in events], event_batch(events)))
                elif not self._waiting:
                    return
                while self._waiting and self._post(*self._waiting[0], session):
                    posted = self._waiting.popleft()
                    if self._rng.random() < 0.05:
                        self._waiting.append(posted)
                time.sleep(max(0.05, self.EVERY - (time.monotonic() - began)))

    def _post(self, ids: list[str], body: bytes, session: requests.Session) -> bool:
        try:
            accepted = self._sender.post(self._url, body, session=session).status_code == 200
        except requests.RequestException:
            return False
        if accepted:
            self.add_posted(ids)
        return accepted


class FaultInjector:
    """Injects the faults."""

    def __init__(self, valkey: Valkey, supervisor: Supervisor, stalls: StallMonitor) -> None:
        #: The number of injected faults of each kind.
        self.injected: Counter[str] = Counter()
        self._valkey = valkey
        self._supervisor = supervisor
        self._stalls = stalls

    def run(self, faults: Iterator[Fault], say: Callable[[float], None]) -> None:
        """Inject each fault at its time. Call `say` once a minute with the elapsed seconds."""
        began = time.monotonic()
        minutes = itertools.count(60, 60)
        due = next(minutes)
        for fault in faults:
            while (now := time.monotonic() - began) < fault.at:
                time.sleep(min(1, fault.at - now))
            if now >= due:
                say(now)
                due = next(minutes)
            self._inject(fault)
            self.injected[fault.kind] += 1
        say(time.monotonic() - began)

    def _inject(self, fault: Fault) -> None:
        worker = self._supervisor.workers[fault.worker]
        match fault.kind:
            case "cut":
                self._cut("normal", "pubsub")
            case "cut-pubsub":
                self._cut("pubsub")
            case "freeze":
                with self._stalls.broker_is_away():
                    self._valkey.freeze()
                    time.sleep(fault.lasts)
                    self._valkey.thaw()
            case "restart":
                self._restart(fault.lasts)
            case "sleep":
                with worker.frozen():
                    self._restart(fault.lasts)
            case "kill":
                worker.kill()

    def _cut(self, *kinds: str) -> None:
        with closing(Redis.from_url(self._valkey.url(0))) as redis:
            for kind in kinds:
                redis.client_kill_filter(_type=kind)

    def _restart(self, downtime: float) -> None:
        with self._stalls.broker_is_away():
            self._valkey.kill()
            time.sleep(downtime)
            self._valkey.start()
