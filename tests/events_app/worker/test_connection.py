"""The worker's step on a broker that is not Redis; `tests/flows/test_connection.py` has Redis."""

from collections.abc import Iterator
from threading import Event

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from events_app.worker.connection import NoHiddenReconnect
from workers.app import app


@pytest.fixture(autouse=True)
def ours_is_current() -> Iterator[None]:
    """Celery's `start_worker` makes its app the current one, and leaves it so."""
    yield
    app.set_current()
    app.set_default()


def test_a_worker_on_another_broker_runs_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_SKIP_CHECKS", "1")  # Django's; they would ask the database
    app = Celery("other", broker="memory://", set_as_current=False)
    ran = Event()
    app.task(name="run")(ran.set)

    with start_worker(app, pool="solo", perform_ping_check=False):
        app.send_task("run")
        assert ran.wait(30)

    assert NoHiddenReconnect in app.steps["consumer"]
