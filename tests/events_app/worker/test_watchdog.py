"""When the watchdog counts and when not. `tests/flows/test_watchdog.py` has real workers."""

import os
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.bootsteps import CLOSE, RUN  # type: ignore[attr-defined]  # not in the stubs
from celery.concurrency import prefork, thread
from celery.worker import state

from devstack.process import wait_for
from events_app.shared import redis
from events_app.shared.redis import REDIS_URL
from events_app.worker import watchdog
from events_app.worker.watchdog import ROUNDS, Watchdog


class Dog(Watchdog):
    """Records the reasons to end the worker, and does not end the process of the tests."""

    def __init__(self, consumer: Any) -> None:
        super().__init__(consumer, ends=False)
        self.reasons: list[str] = []

    def _end(self, why: str) -> None:
        self.reasons.append(why)


class Worker:
    """What the watchdog sees of a worker: its consumer."""

    def __init__(self, *queues: str) -> None:
        self.app = Celery(broker=REDIS_URL.get(), set_as_current=False)
        self.app.amqp.queues.select(list(queues))
        self.pool: Any = object.__new__(thread.TaskPool)
        self.blueprint = SimpleNamespace(state=RUN)
        self.controller = SimpleNamespace(state=state)
        self.qos = SimpleNamespace(max_prefetch=None, value=4)
        self.task_buckets: dict[str, Any] = {"shop.report": None}
        self.turns = True

    def call_soon(self, call: Callable[..., object], *args: object) -> None:
        if self.turns:
            call(*args)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker of `sendgrid.events`; no message waits there."""
    found = Worker("sendgrid.events")
    yield found
    redis.for_workers().delete("sendgrid.events")


@pytest.fixture(autouse=True)
def _nothing_has_come_or_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have run a worker in this process."""
    monkeypatch.setattr(watchdog, "_tasks", set())
    monkeypatch.setattr(watchdog, "_received", 0)


def let_rounds_pass(dog: Watchdog, rounds: int = ROUNDS) -> None:
    for _ in range(rounds):
        dog.look()


def watch(worker: Worker) -> Dog:
    """A watchdog that has seen the main loop turn."""
    dog = Dog(worker)
    dog._ask_for_a_turn()
    dog.look()
    return dog


# --- A loop that does not turn ---


def test_a_main_loop_stuck_for_all_rounds_ends_the_worker(worker: Worker) -> None:
    dog = watch(worker)
    worker.turns = False
    dog._ask_for_a_turn()
    let_rounds_pass(dog, ROUNDS - 1)
    assert not dog.reasons
    dog.look()
    (reason,) = dog.reasons
    assert "the main loop has not turned for 60 s (it is at " in reason


def test_a_main_loop_that_turns_in_time_keeps_the_worker(worker: Worker) -> None:
    dog = watch(worker)
    for _ in range(3):
        worker.turns = False
        dog._ask_for_a_turn()
        let_rounds_pass(dog, ROUNDS - 1)
        worker.turns = True
        dog._ask_for_a_turn()
        dog.look()
    assert not dog.reasons


def test_a_lost_main_loop_probe_is_sent_again(worker: Worker) -> None:
    dog = watch(worker)
    worker.turns = False
    dog._ask_for_a_turn()  # lost: another callback of that turn met a broken connection
    worker.turns = True
    let_rounds_pass(dog, 3 * ROUNDS)
    assert not dog.reasons


def test_a_main_loop_whose_first_probe_was_lost_is_watched(worker: Worker) -> None:
    worker.turns = False
    dog = Dog(worker)
    dog._ask_for_a_turn()
    worker.turns = True
    let_rounds_pass(dog)
    worker.turns = False
    dog._ask_for_a_turn()
    let_rounds_pass(dog)
    assert dog.reasons


def test_a_task_that_begins_while_the_exit_is_logged_keeps_the_worker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(
        watchdog, "_log_exit", lambda _: watchdog._on_begin("one")
    )  # a log handler that takes long
    monkeypatch.setattr(os, "_exit", ended.append)
    Watchdog(worker, ends=True)._end("the main loop has not turned")
    assert not ended


def test_a_main_loop_that_has_never_turned_keeps_the_worker(worker: Worker) -> None:
    worker.turns = False  # a receiver of Celery's worker_ready may take long
    dog = Dog(worker)
    dog._ask_for_a_turn()
    let_rounds_pass(dog, 3 * ROUNDS)
    assert not dog.reasons


def test_a_worker_of_other_queues_is_not_watched() -> None:
    worker = Worker("celery")
    dog = watch(worker)
    worker.turns = False
    dog._ask_for_a_turn()
    let_rounds_pass(dog, 3 * ROUNDS)
    assert not dog.reasons


def test_a_running_task_resets_the_count(worker: Worker) -> None:
    dog = watch(worker)
    worker.turns = False
    dog._ask_for_a_turn()
    let_rounds_pass(dog, ROUNDS - 1)
    watchdog._on_begin("of the host's")
    let_rounds_pass(dog, ROUNDS)
    watchdog._on_end("of the host's")
    let_rounds_pass(dog, ROUNDS - 1)
    assert not dog.reasons
    dog.look()
    assert dog.reasons


def test_a_broker_outage_resets_the_count(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    dog = watch(worker)
    worker.turns = False
    dog._ask_for_a_turn()
    let_rounds_pass(dog, ROUNDS - 1)
    monkeypatch.setenv("CELERY_BROKER_READ_URL", "redis://127.0.0.1:1/0")
    dog.look()
    monkeypatch.delenv("CELERY_BROKER_READ_URL")
    let_rounds_pass(dog, ROUNDS - 1)
    assert not dog.reasons


def test_a_stopping_worker_is_not_watched(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.01)
    dog = Dog(worker)
    dog.start()
    worker.blueprint.state = CLOSE
    dog.join(60)
    assert not dog.is_alive()


# --- A worker that is handed nothing ---


def test_waiting_messages_end_a_worker_that_receives_none(worker: Worker) -> None:
    dog = watch(worker)
    redis.for_workers().lpush("sendgrid.events", "a wake-up")
    let_rounds_pass(dog, ROUNDS - 2)
    assert not dog.reasons
    dog.look()
    assert dog.reasons == ["messages wait in sendgrid.events, and it has received none for 60 s"]


def test_a_worker_that_receives_messages_is_kept(worker: Worker) -> None:
    dog = watch(worker)
    redis.for_workers().lpush("sendgrid.events", "a wake-up")
    for _ in range(3):
        let_rounds_pass(dog, ROUNDS - 2)
        watchdog._on_received()
        dog.look()
    assert not dog.reasons


def test_a_queue_that_is_sometimes_empty_keeps_the_worker(worker: Worker) -> None:
    dog = watch(worker)
    for _ in range(3):
        redis.for_workers().lpush("sendgrid.events", "a wake-up")
        let_rounds_pass(dog, ROUNDS - 2)
        redis.for_workers().delete("sendgrid.events")
        dog.look()
    assert not dog.reasons


def test_messages_in_queues_it_does_not_consume_keep_the_worker(worker: Worker) -> None:
    dog = watch(worker)
    redis.for_workers().lpush("sendgrid.inbound", "a wake-up")
    let_rounds_pass(dog, 3 * ROUNDS)
    assert not dog.reasons


@pytest.mark.parametrize(
    "held",
    [
        {"task_buckets": {"shop.report": SimpleNamespace(contents=deque(["held"]))}},
        {"qos": SimpleNamespace(max_prefetch=4, value=4)},
    ],
)
def test_a_worker_filled_up_by_the_hosts_limits_is_kept(worker: Worker, held: dict[str, Any]) -> None:
    vars(worker).update(held)
    dog = watch(worker)
    redis.for_workers().lpush("sendgrid.events", "a wake-up")
    let_rounds_pass(dog, 3 * ROUNDS)
    assert not dog.reasons


def test_a_message_received_at_the_last_moment_keeps_the_worker(worker: Worker) -> None:
    dog = watch(worker)
    redis.for_workers().lpush("sendgrid.events", "a wake-up")
    let_rounds_pass(dog, ROUNDS - 2)
    worker.turns = False  # the decision waits for the main loop
    dog.look()
    watchdog._on_received()
    dog._end_unfed(["sendgrid.events"], dog._seen)
    assert not dog.reasons


# --- The children of a prefork pool ---


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A child of the pool with the index 3, which has reported nothing yet."""
    monkeypatch.setattr(watchdog, "_reports", None)
    monkeypatch.setattr(watchdog, "pool_index", lambda: 3)
    watchdog._prepare()
    with subprocess.Popen(["sleep", "600"]) as process:
        yield SimpleNamespace(index=3, pid=process.pid)
        process.kill()


def report(child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: child.pid)
    watchdog._report()


def test_a_child_is_busy_while_it_runs_a_task(child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report(child, monkeypatch)
    assert not watchdog._is_busy(child)
    watchdog._on_begin("one")
    assert watchdog._is_busy(child)
    watchdog._on_end("one")
    assert not watchdog._is_busy(child)


def test_a_child_without_a_report_counts_as_busy(child: Any) -> None:
    assert watchdog._is_busy(child)
    assert watchdog._is_busy(SimpleNamespace(index=watchdog._MOST_CHILDREN, pid=child.pid))


def test_a_child_that_ended_in_mid_task_is_not_busy(child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog._on_begin("one")
    report(child, monkeypatch)
    os.kill(child.pid, 9)
    wait_for(lambda: not watchdog._is_busy(child), seconds=60, what="the child is gone")
    os.waitpid(child.pid, 0)
    assert not watchdog._is_busy(child)


def test_without_waitid_a_child_in_mid_task_counts_as_busy(
    child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "waitid")
    watchdog._on_begin("one")
    report(child, monkeypatch)
    assert watchdog._is_busy(child)


def test_the_children_of_a_custom_prefork_pool_of_the_host_are_found(worker: Worker, child: Any) -> None:
    class HostsPool(prefork.TaskPool):
        """As CELERY_CUSTOM_WORKER_POOL may name one."""

    worker.pool = object.__new__(HostsPool)
    worker.pool._pool = SimpleNamespace(_pool=[child])
    assert Dog(worker)._runs_a_task()


# --- The setting ---


@pytest.mark.parametrize(("setting", "watched"), [("exit", True), ("log", True), ("off", False)])
def test_a_host_can_turn_the_watchdog_off(
    worker: Worker, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch, setting: str, watched: bool
) -> None:
    monkeypatch.setattr(watchdog, "_reports", None)
    started: list[Watchdog] = []

    def start(dog: Watchdog) -> None:
        started.append(dog)

    monkeypatch.setattr(Watchdog, "start", start)
    anymail(WORKER_WATCHDOG=setting)
    watchdog._prepare()
    watchdog._watch(sender=worker)
    assert bool(started) is watched
