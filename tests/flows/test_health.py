"""Each part of a deployment away in turn: the commands, the health URL and the overview say so, until all is
well again.
"""

import json
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from devstack.postgres import Postgres
from devstack.process import Process
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import STREAM, Deployment, Servers, event_ids
from tests.support.flows.operator import log_in

NO_WORKER = "No worker takes {}: queue sendgrid.{}. Start a worker with -Q sendgrid.{}."
REDIS_AWAY = "Redis cannot be asked"
DATABASE_AWAY = "The database cannot be asked"
WELL = (200, "All is well.")


class Living(Deployment):
    """A deployment with a beat of its own."""

    running: dict[str, Process]

    def start(self) -> None:
        self.configure(DJANGO_BEHIND_TLS=0)  # the operator comes by http
        self.web()
        self.operator = log_in(self)
        self.running = {}
        self.start_worker_alone()
        self.start_beat()

    def start_worker_alone(self) -> None:
        self.running["worker"] = self.worker_without_beat("--concurrency", "1")

    def start_beat(self) -> None:
        self.running["beat"] = self._keep(self.stack.beat())

    def stop_beat(self) -> None:
        """Half a minute ago."""
        self.running["beat"].stop()
        with self.redis() as redis:
            redis.decrby(f"{STREAM}:beat", 60)

    def ready(self) -> tuple[int, str]:
        """The answer of the health URL to a kubelet, which knows no host name."""
        answer = requests.get(f"{self.stack.url}readyz", headers={"Host": "10.1.2.3"}, timeout=10)
        return answer.status_code, answer.text

    def overview(self) -> tuple[int, str]:
        """The overview in an operator's browser."""
        answer = self.operator.get(f"{self.stack.url}admin/overview_app/overview/", timeout=30)
        return answer.status_code, unescape(answer.text)

    def status(self, command: str) -> tuple[int, str]:
        done = self.stack.run_manage(command, "status")
        return done.returncode, done.stdout + done.stderr

    def examine(self) -> str:
        return self.stack.run_manage("doctor").stdout

    def is_well(self) -> bool:
        status, text = self.ready()
        # Such as on a Redis without maxmemory.
        levels = {line.partition(":")[0] for line in text.splitlines()}
        return status == 200 and levels <= {"ok", "advice"}


class Fault(NamedTuple):
    """A part that is away, and what each says of it."""

    stop: Callable[[], None]
    start: Callable[[], None]
    ready: tuple[int, str]
    events: tuple[int, str]
    outbox: tuple[int, str]
    #: A line of the doctor's.
    doctor: str
    overview: tuple[int, str]


@pytest.fixture
def living(own_servers: Servers, tmp_path: Path) -> Iterator[Living]:
    deployment = Living(tmp_path, *own_servers)
    yield deployment
    deployment.stop()


def test_each_part_that_is_away_is_told_in_plain_words(living: Living, postgres: Postgres) -> None:
    living.start()
    no_events = NO_WORKER.format("new events", "events", "events")
    no_mails = NO_WORKER.format("mails", "mail", "mail")
    late_beat = "Is it running, with events.tick in its schedule, and a worker?"
    faults = {
        "worker": Fault(
            living.running["worker"].stop,
            living.start_worker_alone,
            (200, f"error: {no_events}"),
            (0, f"ERROR: {no_events}"),
            (0, f"ERROR: {no_mails}"),
            "error    No worker takes mails: queue sendgrid.mail.",
            (200, "No worker takes mails: queue sendgrid.mail."),
        ),
        "beat": Fault(
            living.stop_beat,
            living.start_beat,
            (200, late_beat),
            (0, late_beat),
            (0, "lane  state"),  # workers find due mails without beat
            "warning  The last tick of beat's came ",
            (200, late_beat),
        ),
        "Redis": Fault(
            living.valkey.stop,
            living.valkey.start,
            (503, "error: Redis does not answer."),
            (1, REDIS_AWAY),
            (1, REDIS_AWAY),
            f"error    {REDIS_AWAY}",
            (200, REDIS_AWAY),
        ),
        "PostgreSQL": Fault(
            postgres.stop,
            postgres.start,
            (200, "error: The database does not answer."),
            (1, DATABASE_AWAY),
            (1, DATABASE_AWAY),
            f"error    {DATABASE_AWAY}",
            # Sessions are in the database, so the page itself cannot open.
            (503, "The database does not answer."),
        ),
    }
    for name, fault in faults.items():
        living.wait_until(living.is_well, f"all is well before {name} goes away")
        living.wait_until(lambda: says(living.overview(), WELL), "the overview is well")
        fault.stop()
        living.wait_until(lambda: says(living.ready(), fault.ready), f"/readyz tells of {name}")  # noqa: B023
        assert says(living.status("events"), fault.events), (name, living.status("events"))
        assert says(living.status("outbox"), fault.outbox), (name, living.status("outbox"))
        assert fault.doctor in living.examine()
        assert requests.get(f"{living.stack.url}livez", timeout=10).text == "ok\n"
        living.wait_until(lambda: says(living.overview(), fault.overview), f"the overview tells of {name}")  # noqa: B023
        fault.start()
    living.wait_until(living.is_well, "all is well at the end")
    living.wait_until(lambda: says(living.overview(), WELL), "the overview is well at the end")
    well = living.examine()
    assert not [fault.doctor for fault in faults.values() if fault.doctor in well]
    assert living.status("events")[0] == living.status("outbox")[0] == 0


def says(answer: tuple[int, str], expected: tuple[int, str]) -> bool:
    return answer[0] == expected[0] and expected[1] in answer[1]


@on_sqlite
def test_workers_of_every_pool_send_heartbeats_also_in_a_long_task(deployment: Deployment) -> None:
    def workers() -> int:
        status = json.loads(deployment.stack.manage("events", "status", "--json"))
        found: int = status["workers"]["sendgrid.events"]
        return found

    def heard() -> int:
        with deployment.redis() as redis:
            texts: Any = redis.hvals(f"{STREAM}:workers")
            return max(int(text.partition(b" ")[0]) for text in texts)

    deployment.web()
    solo = deployment.worker_without_beat("--pool", "solo")
    events = generate_events(1)
    held = event_ids(events)[0]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)
    begun = heard()
    deployment.wait_until(lambda: heard() > begun, "a heartbeat in a task that holds the main loop up")
    deployment.let_go(held)
    others = [
        deployment.worker("--pool", pool, "--concurrency", "1", name=pool) for pool in ("threads", "prefork")
    ]
    deployment.wait_until(lambda: workers() == 3, "three workers")
    for worker in (solo, *others):
        worker.stop()
    assert workers() == 0
