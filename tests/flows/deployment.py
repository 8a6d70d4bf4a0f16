"""A whole deployment under test: real web, worker and beat, a Valkey of its own, either database."""

import json
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from events_app import claims
from fake_sendgrid.webhook import Sender, batch
from ground.process import Process, wait_for
from ground.stack import Stack
from ground.valkey import Valkey

on_postgres = pytest.mark.parametrize("servers", ["postgres"], indirect=True)

#: Seconds anything here may take before a test fails. More than a lease: when Redis dies between a
#: read and its answer, nobody knows of the entries until they have lain idle for that long.
PATIENCE = 150


class Deployment:
    def __init__(self, folder: Path, valkey: Valkey, database_url: str, **settings: str) -> None:
        self.folder = folder
        self.valkey = valkey
        self.database_url = database_url
        self.sender = Sender()
        self.stack = Stack(
            folder,
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": valkey.url(0),
                "CELERY_BROKER_URL": valkey.url(1),
                "DJANGO_EXTRA_APPS": "tests.flows.witness",
                "WITNESS_FOLDER": str(folder),
                "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": self.sender.public_key,
                **settings,
            },
        )
        self.processes: list[Process] = []
        self.stack.manage("migrate", "--verbosity", "0")

    def web(self) -> Process:
        return self._keep(self.stack.web())

    def worker(self, *options: str, name: str = "worker") -> Process:
        """A worker with beat inside; on SQLite it has one process."""
        return self._keep(self.stack.worker("-B", *options, name=name))

    def stop(self) -> None:
        for process in self.processes:
            process.kill()

    def post(self, events: Iterable[Mapping[str, Any] | bytes]) -> int:
        """The status of one post. SendGrid waits; this raises when the answer takes over 2 seconds."""
        return self.sender.post(self.stack.webhook_url, batch(events), timeout=2).status_code

    def calls(self) -> Counter[str]:
        """How often each event reached the receiver, by its SendGrid id."""
        file = self.folder / "calls"
        return Counter(file.read_text().split()) if file.exists() else Counter()

    def hold_at(self, event_id: str) -> None:
        """Let the receiver wait when it gets this event, until `let_go`."""
        (self.folder / "hold").write_text(event_id)

    def let_go(self) -> None:
        (self.folder / "hold").unlink()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found

    def owed(self) -> set[str]:
        """The SendGrid ids of events somebody still owes a receiver."""
        sql = (
            "SELECT e.event_id FROM events_app_event e JOIN events_app_work w ON w.event_id = e.id "
            "WHERE w.state = 'owed'"
        )
        return {event_id for (event_id,) in self.query(sql)}

    def settle(self, stored: int) -> None:
        """Wait until that many events are stored and none is owed to a receiver."""

        def settled() -> bool:
            ((count,),) = self.query("SELECT count(*) FROM events_app_event")
            return bool(count == stored and not self.owed())

        try:
            wait_for(settled, seconds=PATIENCE, what=f"{stored} events stored and received")
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.state()}") from late

    def counted(self, what: str) -> int:
        """One of the pipeline's own counters."""
        with closing(Redis.from_url(self.valkey.url(0))) as redis:
            return int(redis.hget("{sendgrid:events}:counters", what) or 0)

    def state(self) -> str:
        """What a person would want to know of a deployment that did not get there."""
        events = self.query("SELECT count(*) FROM events_app_event")
        work = self.query("SELECT state, attempts, count(*) FROM events_app_work GROUP BY state, attempts")
        logs = "\n".join(f"{process.log}\n{process.output()[-3000:]}" for process in self.processes)
        return f"events {events}, work {work}\n{logs}"

    def lapse(self) -> None:
        """Let time pass: every claim's lease ends, every entry somebody read has been idle for long."""
        past = "'2020-01-01 00:00:00+00:00'" if self._is_postgres else "'2020-01-01 00:00:00'"
        with connect(self.database_url) as connection:
            connection.execute(f"UPDATE events_app_work SET due = {past} WHERE state = 'owed'")
            connection.commit()
        with closing(Redis.from_url(self.valkey.url(0))) as redis:
            pending = redis.xpending_range("{sendgrid:events}", "pipeline", "-", "+", 10_000)
            ids: Any = [entry["message_id"] for entry in pending]
            if ids:
                idle = claims.lease_ms()
                redis.xclaim("{sendgrid:events}", "pipeline", "worker", 0, ids, idle=idle, justid=True)

    @property
    def _is_postgres(self) -> bool:
        return self.database_url.startswith("postgres")

    def _keep(self, process: Process) -> Process:
        self.processes.append(process)
        return process


@contextmanager
def connect(database_url: str) -> Iterator[Any]:
    """A connection to either kind of database."""
    if database_url.startswith("postgres"):
        with psycopg.connect(database_url) as connection:
            yield connection
    else:
        path = database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=20)) as connection:
            yield connection


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """The URL of a fresh database on `server`, dropped afterwards."""
    name = f"flow_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def samples() -> list[dict[str, Any]]:
    """The payloads on disk: one case each."""
    path = Path(__file__).parent.parent / "payloads" / "events.json"
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found
