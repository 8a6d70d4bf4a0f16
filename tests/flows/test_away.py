"""The database away for longer than anybody waits for it: it costs time, and is held against no event."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devstack.postgres import Postgres
from events_app.shared import counters
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import Deployment, Servers, event_ids, once_each


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, *own_servers)
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("atomic", [False, True])
def test_postgresql_outage_in_mid_drain_loses_no_event(
    on_own_postgres: Deployment, postgres: Postgres, atomic: bool
) -> None:
    deployment = on_own_postgres
    deployment.configure(ATOMIC_DISPATCH=atomic, FLOW_RECEIVERS="first,second,counter")
    deployment.web()
    worker = deployment.worker("--concurrency", "1")
    events = generate_events(60)
    held = event_ids(events)[5]
    deployment.hold_at(held)
    assert deployment.post(events[:20]) == 200
    deployment.wait_for_call(held)

    postgres.stop()
    deployment.let_go(held)
    for at in range(20, 60, 10):
        left = worker.output().count("the next tick continues")
        assert deployment.post(events[at : at + 10]) == 200
        deployment.wait_until(
            lambda: worker.output().count("the next tick continues") > left,  # noqa: B023
            "another task in vain",
        )
    worker.freeze()
    postgres.start()
    assert len(deployment.pending()) == 20 - 5 * atomic
    assert {(row.failures, row.worker_deaths) for row in deployment.work().values()} == {(0, 0)}
    worker.thaw()

    deployment.wait_until_received(stored=60)
    assert {call.attempt for call in deployment.call_log.calls()} == {1}
    assert deployment.totals() == once_each(events)
    # Whose call was cut off, or undone with the transaction, is called again; nobody else is.
    again = ("first", "second") if atomic else ("counter",)
    for receiver in ("first", "second", "counter"):
        assert deployment.called(receiver) == {**once_each(events), held: 2 if receiver in again else 1}
    assert not deployment.work()


def test_a_postgresql_outage_in_a_receiver_is_not_counted_as_a_receiver_failure(
    on_own_postgres: Deployment, postgres: Postgres
) -> None:
    deployment = on_own_postgres
    deployment.configure(FLOW_RECEIVERS="counter,second")
    deployment.web()
    worker = deployment.worker("--concurrency", "1")
    events = generate_events(20)
    held = event_ids(events)[5]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)

    postgres.stop()
    # So long that it wants to write before the next call what is done. That fails, and it hangs up.
    ticks = worker.output().count(".tick sent")
    deployment.wait_until(lambda: worker.output().count(".tick sent") > ticks + 1, "two ticks")
    deployment.let_go(held)
    deployment.wait_until(lambda: "the next tick continues" in worker.output(), "a task in vain")
    postgres.start()

    deployment.wait_until_received(stored=20)
    assert deployment.totals() == once_each(events)
    assert {call.attempt for call in deployment.call_log.calls()} == {1}
    assert deployment.counted(counters.RECEIVER_CALLS, "second", "failed") == 0


@on_sqlite
def test_sqlite_locked_longer_than_the_busy_timeout_loses_no_event(deployment: Deployment) -> None:
    deployment.web()
    worker = deployment.worker()
    events = generate_events(60)
    held = event_ids(events)[19]
    deployment.hold_at(held)
    assert deployment.post(events[:20]) == 200
    deployment.wait_for_call(held)

    with closing(sqlite3.connect(deployment.folder / "db.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        deployment.let_go(held)
        assert deployment.post(events[20:]) == 200
        deployment.wait_until(
            lambda: "wait for the database" in worker.output(), "the worker's patience over"
        )
        assert {(row.failures, row.worker_deaths) for row in deployment.work().values()} == {(0, 0)}

    deployment.wait_until_received(stored=60)
    assert {call.attempt for call in deployment.call_log.calls()} == {1}
    for receiver in ("first", "second", "third"):
        assert deployment.called(receiver) == once_each(events)
    assert not deployment.work()
