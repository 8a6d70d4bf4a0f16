"""What Celery logs of tasks: nothing of ours that succeed, everything of others'."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.beat import Scheduler
from celery.schedules import schedule

from events_app import tasks

ADDRESS = "ann@example.com"


def trace(name: str, work: Callable[[], object]) -> None:
    """Run a task as a worker does, in an app of its own."""
    app = Celery(set_as_current=False, broker="memory://", backend="disabled://")
    task = app.task(name=name)(work)
    build_tracer(name, task, app=app)("an-id", [], {}, {"id": "an-id", "task": name})


def succeed() -> int:
    return 3


def fail() -> None:
    raise LookupError(f"no {ADDRESS}")


@pytest.fixture
def own_task() -> str:
    """The name of a task of ours."""
    return tasks.tick.name


@pytest.mark.parametrize(("level", "lines"), [("INFO", 0), ("DEBUG", 1)])
def test_a_task_of_ours_that_succeeds_is_logged_at_level_debug_alone(
    caplog: pytest.LogCaptureFixture, own_task: str, level: str, lines: int
) -> None:
    with caplog.at_level(level):
        trace(own_task, succeed)
    assert len([record for record in caplog.records if record.name == "celery.app.trace"]) == lines


def test_other_tasks_are_logged_as_celery_does(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        trace("shop.count", succeed)
        trace("shop.fail", fail)
    succeeded, failed = (record for record in caplog.records if record.name == "celery.app.trace")
    assert succeeded.getMessage().startswith("Task shop.count[an-id] succeeded in")
    assert (ADDRESS in failed.getMessage(), bool(failed.exc_info)) == (True, True)


@pytest.mark.parametrize("whole", [False, True])
def test_a_task_of_ours_that_fails_is_logged_without_the_text_of_the_exception(
    caplog: pytest.LogCaptureFixture, anymail: Callable[..., None], own_task: str, whole: bool
) -> None:
    anymail(LOG_TRACEBACKS=whole)
    with caplog.at_level("INFO"):
        trace(own_task, fail)
    (record,) = (record for record in caplog.records if record.name == "celery.app.trace")
    assert (record.levelno, bool(record.exc_info)) == (logging.ERROR, whole)
    if not whole:
        at = f"{__file__}:{fail.__code__.co_firstlineno + 1}"
        assert record.getMessage() == f"Task {own_task}[an-id] raised unexpected: LookupError at {at}"
        assert ADDRESS not in caplog.text


@pytest.mark.parametrize(("task", "lines"), [("events.tick", 0), ("shop.count", 1)])
def test_beat_logs_the_ticks_of_others(caplog: pytest.LogCaptureFixture, task: str, lines: int) -> None:
    app = Celery(broker="memory://", set_as_current=False)
    app.conf.task_create_missing_queues = True
    beat = Scheduler(app=app, lazy=True)
    entry: Any = beat.Entry(name="often", task=task, schedule=schedule(5.0), app=app)
    with caplog.at_level("INFO"):
        beat.apply_entry(entry)
    sent = [message for message in caplog.messages if message.startswith("Scheduler: Sending due task")]
    assert len(sent) == lines


@pytest.mark.parametrize(("task", "lines"), [("events.tick", 0), ("shop.count", 1)])
def test_a_worker_logs_the_discarded_tasks_of_others(
    caplog: pytest.LogCaptureFixture, task: str, lines: int
) -> None:
    with caplog.at_level("INFO"):
        # As celery/worker/request.py does, `Request.revoked`.
        logging.getLogger("celery.worker.request").info("Discarding revoked task: %s[%s]", task, "an-id")
    assert len(caplog.records) == lines
