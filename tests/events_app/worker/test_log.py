"""What Celery and kombu log of a broken broker connection: their own records, through the filter."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from celery.worker.consumer import consumer
from redis.sentinel import MasterNotFoundError

from devstack.process import free_port
from events_app.shared.redis_faults import advice
from events_app.worker.log import OneLineABreak


class Lines(logging.Handler):
    """The lines that a deployment's handler writes."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(OneLineABreak())
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written += self.format(record).splitlines()


@contextmanager
def handled(level: int = logging.INFO) -> Iterator[list[str]]:
    """The lines of everything that is logged meanwhile, by loggers of this level."""
    root = logging.getLogger()
    before, handler = root.level, Lines()
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield handler.written
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@pytest.fixture
def beat() -> Scheduler:
    """Celery's own, whose broker nobody serves."""
    app = Celery(broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    app.conf.broker_transport_options = {"max_retries": 0}
    app.conf.task_publish_retry = False
    return Scheduler(app=app, lazy=True)


def entry(beat: Scheduler, **options: object) -> ScheduleEntry:
    return beat.Entry(
        name="events", task="events.tick", schedule=schedule(5.0), app=beat.app, options=options
    )


def test_a_tick_that_beat_cannot_send_is_logged_in_one_line(beat: Scheduler) -> None:
    with handled() as lines:
        beat.apply_entry(entry(beat))
    line = lines[-1]
    assert line.startswith("Message Error: Couldn't apply scheduled task events: Error 111 connecting to")
    assert line.endswith(" (OperationalError)")
    assert "Traceback" not in "\n".join(lines)


def test_at_log_level_debug_the_traceback_is_kept(beat: Scheduler) -> None:
    with handled(logging.DEBUG) as lines:
        beat.apply_entry(entry(beat))
    assert "Traceback (most recent call last):" in lines


def test_a_programming_error_keeps_its_traceback(beat: Scheduler) -> None:
    with handled() as lines:
        beat.apply_entry(entry(beat, serializer="none such"))
    assert "Traceback (most recent call last):" in lines


def test_a_failed_connection_to_redis_says_what_to_set() -> None:
    """Celery's line has the error's text: of sentinels, redis-py 6.4 puts their password into it."""
    error = MasterNotFoundError("No master found for 'events' : <Redis(...password=s3cret)>")
    with handled() as lines:
        logging.getLogger("celery.worker.consumer.consumer").error(
            consumer.CONNECTION_ERROR,  # type: ignore[attr-defined]
            "sentinel://a:26379/1",
            error,
            "Trying again in 2.00 seconds...",
        )
    assert lines == [
        f"consumer: Cannot connect to sentinel://a:26379/1: {advice(error)}. "
        "Trying again in 2.00 seconds... (MasterNotFoundError)"
    ]
