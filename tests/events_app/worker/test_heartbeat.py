"""When a worker sends heartbeats and when not. `tests/flows/test_health.py` has real workers."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.bootsteps import CLOSE, RUN  # type: ignore[attr-defined]  # not in the stubs
from celery.signals import worker_shutdown
from celery.worker import state

from devstack.process import wait_for
from events_app.shared import heartbeats, redis
from events_app.shared.redis import REDIS_URL
from events_app.worker import heartbeat
from events_app.worker.heartbeat import Heart


class Consumer:
    """What the heart sees of a worker."""

    def __init__(self) -> None:
        self.hostname = "worker@here"
        self.app = Celery(broker=REDIS_URL.get(), set_as_current=False)
        self.app.amqp.queues.select(["sendgrid.events", "celery"])
        self.pool = SimpleNamespace(num_processes=3)
        self.blueprint = SimpleNamespace(state=RUN)
        self.controller = SimpleNamespace(state=state)
        self.turns = True

    def call_soon(self, call: Callable[..., object]) -> None:
        if self.turns:
            call()


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "INTERVAL", 0.01)


def names() -> list[str]:
    return [worker.name for worker in heartbeats.workers()]


def test_a_heartbeat_has_the_queues_of_now_and_the_size_of_the_pool(consumer: Consumer) -> None:
    heart = Heart(consumer)
    heart.beat()
    consumer.app.amqp.queues.select(["sendgrid.mail"])  # as after an order to cancel a consumer
    consumer.pool.num_processes = 4
    heart.beat()
    assert heartbeats.workers() == [heartbeats.Worker("worker@here", ("sendgrid.mail",), 4)]


def test_a_worker_removes_itself_when_it_stops_to_take_messages(consumer: Consumer) -> None:
    heart = Heart(consumer)
    heart.start()
    wait_for(names, seconds=30, what="a heartbeat")
    consumer.blueprint.state = CLOSE  # while a warm shutdown waits for a task
    heart.join(30)
    assert not heart.is_alive()
    assert names() == []


def test_no_heartbeat_comes_after_the_end(consumer: Consumer) -> None:
    heart = Heart(consumer)
    heart.start()
    wait_for(names, seconds=30, what="a heartbeat")
    heart.stop()
    heart.beat()
    heart.join(30)
    assert names() == []


def test_a_loop_that_is_stuck_for_long_falls_silent_and_comes_back(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = Heart(consumer)
    consumer.turns = False
    heart.beat()
    assert names() == ["worker@here"]  # a long task in the pool "solo"
    heartbeats.remove(heart._id)
    monkeypatch.setattr(heartbeat, "_longest_turn", lambda: -1)
    heart.beat()
    assert names() == []
    monkeypatch.undo()
    consumer.turns = True
    heart.beat()
    assert names() == ["worker@here"]


def test_a_worker_that_runs_a_task_of_ours_is_not_stuck() -> None:
    assert heartbeat._longest_turn() >= heartbeat.PATIENCE


def test_without_redis_there_is_no_heartbeat_and_no_noise(
    consumer: Consumer, anymail: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    heart = Heart(consumer)
    with caplog.at_level(logging.INFO):
        anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
        heart.beat()
        heart.stop()
    assert not caplog.records


def test_a_refusal_of_redis_is_told(consumer: Consumer, caplog: pytest.LogCaptureFixture) -> None:
    redis.for_workers().set(redis.key("workers"), "of another type")
    Heart(consumer).beat()
    assert "This worker looks as if it were gone: no heartbeat, as ResponseError" in caplog.text


def test_a_bug_does_not_end_the_heartbeats(consumer: Consumer, caplog: pytest.LogCaptureFixture) -> None:
    heart = Heart(consumer)
    consumer.pool = None  # type: ignore[assignment]
    heart.beat()
    assert "A heartbeat failed; the next one comes" in caplog.text


def test_a_worker_sends_heartbeats_from_its_start_to_its_end(consumer: Consumer) -> None:
    heartbeat._start(consumer)
    wait_for(names, seconds=30, what="a heartbeat")
    worker_shutdown.send(sender=None)
    assert names() == []
    worker_shutdown.disconnect(dispatch_uid="events_app.worker.heartbeat")
