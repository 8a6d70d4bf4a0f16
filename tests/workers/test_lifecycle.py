"""What a worker says and does when it is ready."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency import prefork, solo

from events_app import redis, tasks
from events_app.signals import ReceiverSignal
from workers import lifecycle


def test_it_names_the_receivers_it_will_call(
    tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    def listens(**_: Any) -> None: ...

    tracking.connect(listens, dispatch_uid="shop.listens")
    with caplog.at_level("INFO"):
        lifecycle.log_receivers()
    assert caplog.messages == ["Receivers of tracking events: shop.listens"]


def test_it_warns_when_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle.log_receivers()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(("pool", "warnings"), [(prefork.TaskPool, 0), (solo.TaskPool, 1)])
def test_it_warns_of_a_pool_that_can_stop_no_task(
    caplog: pytest.LogCaptureFixture, pool: type[Any], warnings: int
) -> None:
    lifecycle.check_pool(SimpleNamespace(pool=object.__new__(pool)))
    assert len(caplog.records) == warnings


def test_it_looks_for_what_the_last_worker_left() -> None:
    lifecycle.look_for_work()
    assert redis.worker().llen(tasks.EVENTS) == 1
