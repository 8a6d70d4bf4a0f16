"""The time limits that a prefork child keeps itself. `tests/flows/test_time_limits.py` has the real child."""

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from billiard.pool import soft_timeout_sighandler
from celery.exceptions import SoftTimeLimitExceeded

from devstack.process import wait_for
from events_app import tasks
from events_app.shared import wakeup
from events_app.shared.wakeup import Limits
from events_app.worker import time_limits


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process passes for a prefork child in which the soft limit of `events.drain` is over at once."""
    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    monkeypatch.setattr(time_limits, "_child", time_limits._Child())
    monkeypatch.setattr(time_limits, "pool_index", lambda: 0)
    monkeypatch.setattr(time_limits, "LATER", 0)
    # The thread never looks: a test does.
    monkeypatch.setattr(time_limits, "EACH", 3600)
    monkeypatch.setitem(
        wakeup.registered, "events.drain", wakeup.Registered("sendgrid.events", Limits(0, 600))
    )
    yield
    end()
    signal.signal(signal.SIGUSR1, before)


def begin(task: Any = tasks.drain) -> None:
    time_limits._begin(task)


def end(task: Any = tasks.drain) -> None:
    time_limits._end(task)


def steps() -> None:
    """Stay in Python, where a signal's handler is called at any step."""
    for _ in range(10_000):
        pass


def test_the_soft_time_limit_interrupts_a_waiting_task(child: None) -> None:
    begin()
    thread = threading.Thread(target=time_limits._interrupt_when_over)
    with pytest.raises(SoftTimeLimitExceeded):
        interrupted_while(thread.start)
    thread.join()


def interrupted_while(begin: Callable[[], None]) -> None:
    begin()
    threading.Event().wait(60)


def test_a_time_limit_that_is_not_reached_interrupts_nothing(
    child: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "LATER", 600)
    begin()
    time_limits._interrupt_when_over()
    steps()


def test_a_task_interrupted_by_celery_is_not_interrupted_twice(child: None) -> None:
    begin()
    with pytest.raises(SoftTimeLimitExceeded):
        os.kill(os.getpid(), signal.SIGUSR1)
    time_limits._interrupt_when_over()
    steps()


def test_celerys_signal_after_an_interruption_of_the_child_does_nothing(child: None) -> None:
    begin()
    with pytest.raises(SoftTimeLimitExceeded):
        time_limits._interrupt_when_over()
    os.kill(os.getpid(), signal.SIGUSR1)
    steps()


def test_a_time_limit_signal_in_flight_at_the_end_of_a_task_interrupts_no_other_task(child: None) -> None:
    on_its_way = threading.Event()

    def send() -> None:
        with time_limits._child.sending:
            on_its_way.set()
            wait_for(lambda: time_limits._child.running is None, seconds=60, what="the end of the task")
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    begin()
    sender = threading.Thread(target=send)
    sender.start()
    on_its_way.wait(60)
    end()
    sender.join()
    steps()  # the next task


def test_soft_and_hard_time_limits_end_with_the_task(child: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = Mock(wraps=faulthandler.cancel_dump_traceback_later)
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", cancel)
    begin()
    end()
    cancel.assert_called_once_with()
    time_limits._interrupt_when_over()
    steps()


def test_time_limits_of_a_task_without_an_end_signal_do_not_apply_to_the_next(child: None) -> None:
    begin()
    begin(task("shop.report"))
    assert time_limits._child.running is None
    time_limits._interrupt_when_over()
    steps()


def test_tasks_of_the_host_project_have_only_celerys_time_limits(child: None) -> None:
    begin(task("shop.report"))
    assert time_limits._child.running is None


def test_an_eager_task_inside_another_changes_no_time_limits(child: None) -> None:
    begin()
    outer = time_limits._child.running
    begin(task("events.drain", eager=True))
    end(task("events.drain", eager=True))
    assert time_limits._child.running is outer


def test_only_a_prefork_child_sets_time_limits() -> None:
    # In threads and in solo nothing can end a task and leave the worker alive: a receiver that hangs stays.
    assert time_limits.pool_index() is None
    begin()
    assert time_limits._child.running is None


def task(name: str, *, eager: bool = False) -> Any:
    return SimpleNamespace(name=name, request=SimpleNamespace(is_eager=eager))
