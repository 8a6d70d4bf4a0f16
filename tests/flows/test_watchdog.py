"""A worker that can do no work any more ends itself. A worker that works, waits or is idle does not."""

import re
from contextlib import closing

import pytest
from redis import Redis

from devstack import reaper
from devstack.process import Process
from devstack.stack import QUEUES
from events_app.worker import watchdog
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import PATIENCE, Deployment, once_each
from tests.support.flows.receivers_app import worker_faults
from tests.support.flows.receivers_app.call_log import WatchdogRounds

pytestmark = on_sqlite

TICKS = ("events.tick", "sending.tick")
POOLS = ("prefork", "threads", "solo")

#: The main loop of an idle worker turns at least once a second.
SECONDS = 6


@pytest.fixture(autouse=True)
def watched(deployment: Deployment) -> None:
    deployment.configure(FLOW_WATCHDOG_PATIENCE=SECONDS, WORKER_WATCHDOG="exit")


@pytest.mark.parametrize("pool", [*POOLS, "prefork without event loop"])
def test_a_worker_with_a_stuck_main_loop_exits_with_all_its_children(
    deployment: Deployment, pool: str
) -> None:
    worker = start(deployment, pool, *(["-B"] if pool != "solo" else []))

    order(deployment, "wait_in_recv")

    assert worker.wait(PATIENCE) == watchdog.EXIT_STATUS
    assert "the main loop has not turned" in worker.output()
    assert "in wait_in_recv" in worker.output()
    deployment.wait_until(lambda: not reaper.is_alive(-worker.pid), "its children are gone")


def test_a_worker_that_receives_nothing_exits_when_messages_wait(deployment: Deployment) -> None:
    worker = start(deployment, "prefork")
    deployment.wait_until(lambda: is_idle(deployment, worker), "it has answered its own wake-ups")
    order(deployment, "stop_consuming")
    let_rounds_pass(deployment, worker)
    assert worker.alive
    deployment.web()
    assert deployment.post(generate_events(5)) == 200

    assert worker.wait(PATIENCE) == watchdog.EXIT_STATUS

    assert "messages wait in sendgrid.events" in worker.output()
    deployment.worker(name="successor")
    deployment.wait_until_received(stored=5)


def test_a_worker_without_a_supervisor_logs_and_does_not_exit(deployment: Deployment) -> None:
    deployment.configure(WORKER_WATCHDOG="log")
    worker = start(deployment, "prefork")

    order(deployment, "wait_in_recv")

    said = 'WORKER_WATCHDOG is "log"'
    deployment.wait_until(lambda: worker.output().count(said) > 1, "it logs, and goes on to log")
    assert worker.alive


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_runs_a_task_never_exits(deployment: Deployment, pool: str) -> None:
    deployment.web()
    worker = start(deployment, pool)
    (event,) = events = generate_events(1)
    held = event["sg_event_id"]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)
    if pool != "solo":  # its main thread is the one that runs the task
        order(deployment, "wait_in_recv")

    let_rounds_pass(deployment, worker)
    assert worker.alive

    deployment.let_go(held)
    deployment.wait_until_received(stored=1)
    if pool != "solo":
        assert worker.wait(PATIENCE) == watchdog.EXIT_STATUS


def test_a_worker_whose_broker_is_away_never_exits(deployment: Deployment) -> None:
    # Longer than Celery's pauses between its attempts to connect: 2 s, then 4 s, and so on.
    deployment.configure(FLOW_WATCHDOG_PATIENCE=15)
    deployment.web()
    worker = start(deployment, "prefork")
    events = generate_events(5)

    deployment.valkey.kill()
    let_rounds_pass(deployment, worker, 1.2)
    deployment.valkey.start()

    deployment.wait_until(lambda: deployment.post(events) == 200, "the post is taken")
    deployment.wait_until_received(stored=5)
    assert worker.alive


@pytest.mark.parametrize("pool", ["prefork", "prefork without event loop"])
def test_an_idle_worker_never_exits(deployment: Deployment, pool: str) -> None:
    deployment.web()
    worker = start(deployment, pool)

    let_rounds_pass(deployment, worker)

    events = generate_events(5)
    assert deployment.post(events) == 200
    deployment.wait_until_received(stored=5)
    assert deployment.called() == once_each(events)
    assert worker.alive


def start(deployment: Deployment, pool: str, *options: str) -> Process:
    """A worker without beat, unless told, that the watchdog watches."""
    pool, _, synloop = pool.partition(" ")
    if synloop:
        deployment.configure(FLOW_SYNLOOP=1)
    worker = deployment.stack.worker("--pool", pool, *options)
    deployment.processes.append(worker)
    return worker


def is_idle(deployment: Deployment, worker: Process) -> bool:
    """Whether the worker has run the ticks that it sends to itself at its start, and all they asked for."""
    ticks = [re.search(rf"Task {tick}\[\S+\] ended", worker.output()) for tick in TICKS]
    with closing(Redis.from_url(deployment.valkey.url(1))) as broker:
        return all(ticks) and not broker.exists(*QUEUES)


def order(deployment: Deployment, fault: str) -> None:
    assert hasattr(worker_faults, fault)
    (deployment.folder / "fault").write_text(fault)


def let_rounds_pass(deployment: Deployment, worker: Process, times: float = 2) -> None:
    """Let the watchdog go its rounds, for more than its patience: it would have ended the worker by then."""
    rounds = WatchdogRounds(deployment.folder)
    begin = rounds.count()
    deployment.wait_until(
        lambda: not worker.alive or rounds.count() >= begin + times * watchdog.ROUNDS, "the watchdog's rounds"
    )
