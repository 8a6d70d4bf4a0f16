"""A worker checks its pool and looks for work when it is ready."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency import prefork, solo
from celery.concurrency import thread as threads

from events_app import tasks
from events_app.shared import redis
from sending_app.signals import post_send
from sending_app.tasks import MAIL
from workers import lifecycle
from workers.app import EVENT_QUEUES, MAIL_QUEUES, QUEUES


@pytest.mark.parametrize(
    ("pool", "queues", "warnings"),
    [
        (prefork.TaskPool, QUEUES, 0),
        (solo.TaskPool, QUEUES, 1),
        (threads.TaskPool, EVENT_QUEUES, 1),
        (threads.TaskPool, MAIL_QUEUES, 0),
    ],
)
def test_a_starting_worker_warns_of_a_pool_without_time_limits(
    caplog: pytest.LogCaptureFixture, pool: type[Any], queues: Sequence[str], warnings: int
) -> None:
    consumed = SimpleNamespace(
        amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=dict.fromkeys(queues)))
    )
    lifecycle.check_pool(SimpleNamespace(pool=object.__new__(pool), app=consumed))
    assert len(caplog.records) == warnings


def test_a_starting_worker_wakes_the_ticks() -> None:
    lifecycle.look_for_work()
    assert redis.for_workers().llen(tasks.EVENTS) == 1
    assert redis.for_workers().llen(MAIL) == 1


def test_a_starting_mail_worker_warns_of_receivers_in_a_threads_pool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def told(**_: Any) -> None: ...

    sender = SimpleNamespace(
        pool=object.__new__(threads.TaskPool),
        app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=MAIL_QUEUES))),
    )
    post_send.connect(told)
    try:
        lifecycle.check_pool(sender)
    finally:
        post_send.disconnect(told)
    assert len(caplog.records) == 1
