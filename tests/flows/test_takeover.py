"""What a worker that was killed or frozen had in hand is another's, and is counted exactly once
where the receivers and the mark that it is done share a transaction."""

import os
import signal

import pytest

from devstack.process import Process
from events_app.shared import counters
from fake_sendgrid.events import Event, generate_events
from tests.support.flows.databases import on_postgres, on_sqlite
from tests.support.flows.deployment import STREAM, Deployment, event_ids, once_each
from tests.support.flows.receivers_app import behaviours


@pytest.mark.parametrize("atomic", [False, True])
def test_worker_death_before_the_done_mark_retries_its_events_at_least_once(
    deployment: Deployment, atomic: bool
) -> None:
    deployment.configure(ATOMIC_DISPATCH=atomic, FLOW_RECEIVERS="counter,second")
    deployment.web()
    worker = deployment.worker()
    events = generate_events(20)
    held = event_ids(events)[5]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)

    worker.kill()
    deployment.expire_leases()
    deployment.worker(name="successor")

    deployment.wait_until_received(stored=20)
    assert deployment.attempts(held, "counter") == deployment.attempts(held) == [1, 2]
    assert deployment.called().keys() == once_each(events).keys()
    assert deployment.totals() == (once_each(events) if atomic else deployment.called("counter"))
    assert not deployment.dead_letters()


def test_a_worker_terminated_with_its_children_counts_no_worker_death_for_the_leased_event(
    deployment: Deployment,
) -> None:
    deployment.web()
    worker = deployment.worker()
    events = generate_events(20)
    held = event_ids(events)[5]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)

    os.killpg(worker.pid, signal.SIGTERM)  # as a supervisor may, where only the main process should get it
    worker.wait(30)
    assert deployment.work()[held].worker_deaths == 0
    deployment.let_go(held)
    deployment.worker(name="successor")

    deployment.wait_until_received(stored=20)
    assert {call.attempt for call in deployment.call_log.calls()} == {1}
    assert deployment.called("first") == once_each(events)


def test_a_frozen_workers_expired_leases_are_recovered_and_after_the_thaw_it_changes_no_row(
    deployment: Deployment,
) -> None:
    deployment.configure(FLOW_RECEIVERS="counter,second")
    deployment.web()
    frozen = deployment.worker("--concurrency", "1", name="frozen")
    events = generate_events(40)
    held, failing = event_ids(events)[5], event_ids(events)[10]
    deployment.hold_at(held)
    deployment.call_log.order(failing, behaviours.fail, tries=2)
    assert deployment.post(events[:20]) == 200
    deployment.wait_for_call(held)
    frozen.freeze()
    deployment.expire_leases()

    deployment.worker(name="successor")
    deployment.wait_until(
        lambda: deployment.pending() == {failing} and deployment.work()[failing].failures,
        "all taken over, and one to be retried",
    )
    taken_over = deployment.work()
    assert (taken_over[failing].failures, taken_over[failing].worker_deaths) == (1, 1)
    deployment.let_go(held)
    ended = deployment.ends_of("events.drain", by=frozen)
    frozen.thaw()
    deployment.wait_for_end_of("events.drain", frozen, before=ended)

    assert deployment.attempts(failing) == [2, 1]
    assert deployment.work() == taken_over
    deployment.expire_leases()
    assert deployment.post(events[20:]) == 200
    deployment.wait_until_received(stored=40)
    assert deployment.attempts(failing) == [2, 1, 3]
    assert deployment.called().keys() == once_each(events).keys()
    assert deployment.totals() == deployment.called("counter")
    assert not deployment.work()


@on_postgres
def test_hanging_events_with_expired_leases_hold_one_process_and_delay_no_fresh_event(
    deployment: Deployment,
) -> None:
    deployment.web()
    worker = deployment.worker("--concurrency", "1")
    events = generate_events(40)
    hanging = event_ids(events)[5:7]
    for event_id in hanging:
        deployment.hold_at(event_id, tries=2)
    assert deployment.post(events[:20]) == 200
    deployment.wait_for_call(hanging[0])
    worker.kill()
    deployment.expire_leases()

    successor = deployment.worker("--concurrency", "2", name="successor")
    deployment.wait_until(lambda: any(2 in deployment.attempts(one) for one in hanging), "one hangs again")
    with deployment.redis() as redis:
        redis.delete(f"{STREAM}:tick")
    deployment.wait_for_end_of("events.recover", by=successor)  # another process, which is not to join in
    assert deployment.post(events[20:]) == 200
    deployment.wait_until(
        lambda: set(event_ids(events[20:])) <= deployment.called().keys(), "fresh events received"
    )
    assert sum(2 in deployment.attempts(one) for one in hanging) == 1

    for event_id in hanging:
        deployment.let_go(event_id)
    deployment.wait_until_received(stored=40)
    assert not deployment.dead_letters()


@on_postgres
def test_an_event_locked_by_a_frozen_workers_transaction_waits_for_the_thaw(deployment: Deployment) -> None:
    events = generate_events(20)
    frozen, held = freeze_in_a_transaction(deployment, events)

    successor = deployment.worker(name="successor")
    deployment.wait_until(lambda: deployment.pending() == {held}, "all but one taken over")
    deployment.wait_for_end_of("events.recover", by=successor)
    assert deployment.pending() == {held}
    deployment.let_go(held)
    frozen.thaw()

    deployment.wait_until_received(stored=20)
    assert deployment.called() == deployment.totals() == once_each(events)


@on_postgres
def test_an_event_locked_by_a_frozen_worker_is_recovered_once_postgresql_ends_its_transaction(
    deployment: Deployment,
) -> None:
    events = generate_events(20)
    frozen, held = freeze_in_a_transaction(deployment, events)

    deployment.worker(name="successor")
    deployment.wait_until(lambda: deployment.pending() == {held}, "all but one taken over")
    deployment.query(  # as idle_in_transaction_session_timeout does when the lease is over
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' ORDER BY xact_start LIMIT 1"
    )
    deployment.wait_until_received(stored=20)
    assert deployment.attempts(held) == [1, 2]
    deployment.let_go(held)
    ended = deployment.ends_of("events.drain", by=frozen)
    frozen.thaw()
    deployment.wait_for_end_of("events.drain", frozen, before=ended)

    assert deployment.totals() == once_each(events)
    assert deployment.called() == {**once_each(events), held: 2}
    assert not deployment.work()
    assert deployment.counted(counters.RECEIVER_CALLS, "second", "failed") == 0


@on_sqlite
def test_a_worker_frozen_in_a_sqlite_transaction_blocks_all_workers_until_the_thaw(
    deployment: Deployment,
) -> None:
    # One transaction at a time writes to the file, and nobody can end that of a frozen process. So
    # there is nothing to take over here; where receivers are called in none, it is as on PostgreSQL.
    deployment.configure(ATOMIC_DISPATCH=True, FLOW_RECEIVERS="counter,second")
    deployment.web()
    workers = [deployment.worker(name=name) for name in ("one", "other")]
    events = generate_events(40)
    held = event_ids(events)[5]
    deployment.hold_at(held)
    assert deployment.post(events[:20]) == 200
    deployment.wait_for_call(held)
    (frozen,) = (worker for worker in workers if "Task events.drain[" in worker.output())
    frozen.freeze()

    assert deployment.post(events[20:]) == 200
    deployment.wait_until(
        lambda: all("Task events.drain[" in worker.output() for worker in workers), "the other at work"
    )
    assert deployment.totals() == once_each(events[:5])
    deployment.let_go(held)
    frozen.thaw()

    deployment.wait_until_received(stored=40)
    assert deployment.called() == deployment.totals() == once_each(events)


def freeze_in_a_transaction(deployment: Deployment, events: list[Event]) -> tuple[Process, str]:
    """A worker frozen in a receiver, and the event it has there. All its leases are over."""
    deployment.configure(ATOMIC_DISPATCH=True, FLOW_RECEIVERS="counter,second")
    deployment.web()
    frozen = deployment.worker("--concurrency", "1", name="frozen")
    before, held = event_ids(events)[4:6]
    deployment.hold_at(before)
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(before)
    deployment.expire_leases()  # now, for a row that is locked cannot be changed
    deployment.let_go(before)
    deployment.wait_for_call(held)
    frozen.freeze()
    return frozen, held
