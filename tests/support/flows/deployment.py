"""A deployment under test: real web, worker and beat, a Valkey of its own, SQLite or PostgreSQL."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from devstack.process import Process, wait_for
from devstack.valkey import Valkey
from events_app.dispatch import leases
from events_app.shared import counting
from fake_sendgrid.events import Event
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.flows.databases import DatabaseTemplate, connect, is_postgres
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.call_log import CallLog
from tests.support.preloaded import Stack

#: Seconds anything here may take before a test fails. More than a lease: when Redis dies between a
#: read and its answer, nobody knows of the entries until they have lain idle for that long.
PATIENCE = 150

STREAM = "{sendgrid:events}"

#: As both databases understand it.
LONG_AGO = "2020-01-01 00:00:00"


class PendingRow(NamedTuple):
    """A pending delivery as the database has it."""

    state: str
    failures: int
    worker_deaths: int
    #: Pending receivers, each with the traceback of its last failure.
    receivers: dict[str, str]
    error: str


class Deployment:
    def __init__(
        self,
        folder: Path,
        valkey: Valkey,
        database_url: str,
        template: DatabaseTemplate | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.valkey = valkey
        self.database_url = database_url
        self.sender = WebhookSender()
        self.stack = Stack(
            folder,
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": valkey.url(0),
                "CELERY_BROKER_URL": valkey.url(1),
                "DJANGO_EXTRA_APPS": "tests.support.flows.receivers_app",
                "FLOW_FOLDER": str(folder),
                "FLOW_RECEIVERS": "first,second,third",
                "FLOW_TICK": "1",
                "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": self.sender.public_key,
            },
        )
        self.configure(**settings)
        #: Orders to the receivers, and their calls.
        self.call_log = CallLog(folder)
        self.processes: list[Process] = []
        if template:
            template.fill(database_url, self._migrate)
        else:
            self._migrate(database_url)

    def _migrate(self, database_url: str) -> None:
        ours = self.stack.env["DATABASE_URL"]
        self.stack.env["DATABASE_URL"] = database_url
        self.stack.manage("migrate", "--run-syncdb", "--verbosity", "0")
        self.stack.env["DATABASE_URL"] = ours

    # --- Processes ---

    def configure(self, **settings: object) -> None:
        """Set these in the environment of processes started from now on."""
        self.stack.env |= {name: str(value) for name, value in settings.items()}

    def web(self) -> Process:
        return self._keep(self.stack.web())

    def start_web(self) -> Process:
        """Without waiting until it answers."""
        return self._keep(self.stack.start_web())

    def worker(self, *options: str, name: str = "worker") -> Process:
        """A worker with beat inside; on SQLite it has one process."""
        return self._keep(self.stack.worker("-B", *options, name=name))

    def start_worker(self) -> Process:
        """Without waiting until it is ready."""
        return self._keep(self.stack.start_worker())

    def worker_without_beat(self, *options: str) -> Process:
        return self._keep(self.stack.worker(*options))

    def stop(self) -> None:
        for process in self.processes:
            process.kill()

    # --- Events ---

    def post(self, events: Iterable[Mapping[str, Any] | bytes], timeout: float = 2) -> int:
        """The status of one post. SendGrid waits; this raises when the answer takes over 2 seconds."""
        return self.sender.post(self.stack.webhook_url, event_batch(events), timeout=timeout).status_code

    def called(self, receiver: str = "second") -> Counter[str]:
        """How often the receiver was called with each event, by its SendGrid id."""
        return Counter(call.event_id for call in self.call_log.calls() if call.receiver == receiver)

    def attempts(self, event_id: str, receiver: str = "second") -> list[int]:
        """The numbers of the tries at which the receiver was called with the event."""
        wanted = (receiver, event_id)
        return [call.attempt for call in self.call_log.calls() if (call.receiver, call.event_id) == wanted]

    def hold_at(self, event_id: str, tries: int = 1) -> None:
        """Have `second` wait at this event until `let_go`, in mid drain."""
        self.call_log.order(event_id, behaviours.hold, tries)

    def let_go(self, event_id: str) -> None:
        self.call_log.withdraw(event_id)

    def totals(self) -> dict[str, int]:
        """How often `counter` counted each event, as far as that was committed."""
        return dict(self.query("SELECT event_id, total FROM receivers_app_total"))

    # --- The database and Redis ---

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found

    def execute(self, sql: str) -> None:
        with connect(self.database_url) as connection:
            connection.execute(sql)

    def work(self) -> dict[str, PendingRow]:
        """All pending deliveries and dead letters, by the event's SendGrid id."""
        found = self.query(
            "SELECT e.event_id, w.state, w.failures, w.worker_deaths, w.receivers, w.error "
            "FROM events_app_event e JOIN events_app_pendingdelivery w ON w.event_id = e.id"
        )
        return {
            # SQLite has JSON as text.
            event_id: PendingRow(
                state,
                failures,
                worker_deaths,
                json.loads(receivers) if isinstance(receivers, str) else receivers,
                error,
            )
            for event_id, state, failures, worker_deaths, receivers, error in found
        }

    def pending(self) -> set[str]:
        """The SendGrid ids of events with a pending delivery."""
        return {event_id for event_id, row in self.work().items() if row.state == "pending"}

    def dead_letters(self) -> dict[str, PendingRow]:
        return {event_id: row for event_id, row in self.work().items() if row.state == "dead"}

    def counted(self, counter: counting.Counter, *labels: str) -> int:
        """A number of the pipeline's own counters."""
        with self.redis() as redis:
            return int(redis.hget(f"{STREAM}:{counting.KEY}", counter.field(*labels)) or 0)

    def waiting_in_redis(self) -> int:
        """The number of stream entries whose events are not stored yet."""
        with self.redis() as redis:
            return int(redis.xlen(STREAM))

    def redis(self) -> "closing[Redis]":
        """The Redis that keeps events."""
        return closing(Redis.from_url(self.valkey.url(0)))

    # --- Time ---

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_for(condition, seconds=PATIENCE, what=what)
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.state()}") from late

    def wait_for_call(self, event_id: str, attempt: int = 1) -> None:
        self.wait_until(lambda: attempt in self.attempts(event_id), f"try {attempt} of {event_id}")

    def wait_until_counted(self, number: int, counter: counting.Counter, *labels: str) -> None:
        """Wait for a counter. A worker sends its counts once a second, and at a task's end."""
        self.wait_until(lambda: self.counted(counter, *labels) == number, f"{counter.name} is {number}")

    def wait_until_received(self, stored: int) -> None:
        """Wait until that many events are stored and none has a pending delivery. Each is counted once."""

        def settled() -> bool:
            ((count,),) = self.query("SELECT count(*) FROM events_app_event")
            return bool(count == stored and not self.pending())

        self.wait_until(settled, f"{stored} events stored and received")
        by_type = dict(self.query("SELECT event_type, count(*) FROM events_app_event GROUP BY event_type"))
        # A fold may come between the two queries.
        self.wait_until(lambda: self.hourly_counts() == by_type, "the hourly counts of the stored events")

    def hourly_counts(self) -> Counter[str]:
        """The numbers of events by type, for charts."""
        folded = "SELECT label, sum(count) FROM events_app_hourlycount WHERE name = 'events' GROUP BY label"
        counts = Counter({label: int(number) for label, number in self.query(folded)})
        for (unfolded,) in self.query("SELECT counts FROM events_app_unfoldedcounts"):
            # SQLite has JSON as text.
            by_series = json.loads(unfolded) if isinstance(unfolded, str) else unfolded
            for _, label, number in by_series["events"]:
                counts[label] += number
        return counts

    def expire_leases(self) -> None:
        """Let time pass: every lease expires, every entry that was read has been idle for long."""
        pending_ids = "SELECT event_id FROM events_app_pendingdelivery WHERE state = 'pending'"
        if is_postgres(self.database_url):
            pending_ids += " FOR UPDATE SKIP LOCKED"  # does not wait for other transactions
        self.execute(
            f"UPDATE events_app_pendingdelivery SET due = '{LONG_AGO}' WHERE event_id IN ({pending_ids})"
        )
        with self.redis() as redis:
            pending = redis.xpending_range(STREAM, "pipeline", "-", "+", 10_000)
            ids: Any = [entry["message_id"] for entry in pending]
            if ids:
                redis.xclaim(
                    STREAM, "pipeline", "worker", 0, ids, idle=leases.lease_duration_ms(), justid=True
                )
            # The next tick is not too early, and a recovery that was killed holds up no other.
            redis.delete(*(f"{STREAM}:{name}" for name in ("tick", "recover")))

    def wait_for_end_of(self, task: str, by: Process, before: int | None = None) -> None:
        """Wait until the worker has ended more tasks of this name than `before`, or than now."""
        number = self.ends_of(task, by) if before is None else before
        self.wait_until(lambda: self.ends_of(task, by) > number, f"one more {task} ended")

    def ends_of(self, task: str, by: Process) -> int:
        """The number of tasks of this name that the worker has ended."""
        return len(re.findall(rf"Task {re.escape(task)}\[\S+\] ended", by.output()))

    def errors(self) -> list[str]:
        """The lines of the logs that tell of an error."""
        logs = "\n".join(process.output() for process in self.processes)
        signs = r"ERROR|CRITICAL|Traceback|Could not|stopped \("
        return [line for line in logs.splitlines() if re.search(signs, line)]

    def state(self) -> str:
        """Counts and logs for the message of a failed wait."""
        events = self.query("SELECT count(*) FROM events_app_event")
        rows = Counter((row.state, row.failures, row.worker_deaths) for row in self.work().values())
        logs = "\n".join(f"{process.log}\n{process.output()[-3000:]}" for process in self.processes)
        return f"events {events}, pending deliveries (state, failures, worker deaths) {dict(rows)}\n{logs}"

    def _keep(self, process: Process) -> Process:
        self.processes.append(process)
        return process


def event_ids(events: Iterable[Event]) -> list[str]:
    return [event["sg_event_id"] for event in events]


def once_each(events: Iterable[Event]) -> dict[str, int]:
    """The expected count of calls of a receiver: one for each event."""
    return dict.fromkeys(event_ids(events), 1)


def sample_events() -> list[dict[str, Any]]:
    """The sample payloads: one case each."""
    path = Path(__file__).parents[2] / "payloads" / "events.json"
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


class Servers(NamedTuple):
    """A Valkey that runs, and an empty database."""

    valkey: Valkey
    database_url: str
