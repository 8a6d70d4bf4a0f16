"""The faults of `./dev chaos`, and the load they fall upon."""

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
    words: str
    #: How many of this kind there are in a round of faults.
    weight: int
    #: Seconds it lasts, drawn anew each time.
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
    #: Seconds from the start of the storm, at the earliest.
    at: float
    kind: str
    lasts: float
    #: The role of the worker it is for, where it is for one.
    role: str


def plan_faults(faults: int, seconds: float, seed: int, kinds: Sequence[str]) -> Iterator[Fault]:
    """So many faults, spread over the time. The same arguments make the same faults."""
    chance = random.Random(seed)
    bag: list[str] = []
    for number in range(faults):
        if not bag:
            bag = [kind for kind in kinds for _ in range(FAULT_KINDS[kind].weight)]
            chance.shuffle(bag)
        kind = bag.pop()
        at = (number + chance.random()) * seconds / faults
        yield Fault(at, kind, chance.uniform(*FAULT_KINDS[kind].lasts), chance.choice(WORKERS))


class EventPoster:
    """Posts events as SendGrid does: again where a batch is not taken, and now and then where it is."""

    #: Seconds between two batches, and the events in one.
    EVERY, EVENTS = 0.4, 20

    def __init__(self, sender: WebhookSender, url: str, seed: int) -> None:
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
                    events = generate_events(self.EVENTS, seed=self._seed * 1_000_000 + number)
                    self._waiting.append(([event["sg_event_id"] for event in events], event_batch(events)))
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


class FaultInjector:
    """Throws the faults."""

    def __init__(self, valkey: Valkey, supervisor: Supervisor, pauses: StallMonitor) -> None:
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
