"""Another broker: messages are only wake-ups, so any that Celery knows will do."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from devstack.valkey import Valkey
from events_app.shared import counters
from events_app.worker import watchdog
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import DatabaseTemplate
from tests.support.flows.deployment import PATIENCE, once_each
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.flows.receivers_app import worker_faults
from tests.support.flows.receivers_app.call_log import WatchdogRounds
from workers.app import QUEUES

AMQP = os.environ.get("TEST_AMQP_URL", "")


@contextmanager
def alone_on_rabbitmq() -> Iterator[None]:
    """One test at a time, in whichever of pytest's processes: the queues of all have the same names."""
    with (Path(os.environ["TEST_FOLDER"]) / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def on_rabbitmq(tmp_path: Path, template: DatabaseTemplate) -> Iterator[MailDeployment]:
    with alone_on_rabbitmq(), Valkey(tmp_path / "valkey") as valkey, Connection(AMQP) as connection:
        url = f"sqlite:///{tmp_path}/db.sqlite3"
        deployment = MailDeployment(tmp_path, valkey, url, template)
        deployment.configure(CELERY_BROKER_URL=AMQP)
        try:
            yield deployment
        finally:
            deployment.stop()
            channel: Any = connection.default_channel
            for queue in QUEUES:
                channel.queue_delete(queue)


needs_rabbitmq = pytest.mark.skipif(not AMQP, reason="TEST_AMQP_URL names no RabbitMQ")


@pytest.mark.quick
@needs_rabbitmq
def test_rabbitmq_delivers_wake_ups_for_events_and_mails(on_rabbitmq: MailDeployment) -> None:
    on_rabbitmq.web()
    on_rabbitmq.worker()
    events = generate_events(300)

    for at in range(0, 300, 30):
        assert on_rabbitmq.post(events[at : at + 30]) == 200

    on_rabbitmq.wait_until_received(stored=300)
    assert on_rabbitmq.called() == once_each(events)
    assert on_rabbitmq.counted(counters.WAKE_UP_FAILED) == 0

    on_rabbitmq.mailer()
    on_rabbitmq.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])
    on_rabbitmq.call("campaign", recipients=1500)

    on_rabbitmq.wait_until(lambda: on_rabbitmq.states() == ["accepted"] * 22, "all mails accepted")
    assert on_rabbitmq.counted(counters.WAKE_UP_FAILED) == 0


@needs_rabbitmq
def test_the_watchdog_reads_queue_lengths_from_rabbitmq(on_rabbitmq: MailDeployment) -> None:
    on_rabbitmq.configure(FLOW_WATCHDOG_PATIENCE=6, WORKER_WATCHDOG="exit")
    on_rabbitmq.web()
    worker = on_rabbitmq.stack.worker()
    on_rabbitmq.processes.append(worker)

    rounds = WatchdogRounds(on_rabbitmq.folder)
    begin = rounds.count()
    on_rabbitmq.wait_until(lambda: rounds.count() >= begin + 3 * watchdog.ROUNDS, "the watchdog's rounds")
    assert worker.alive  # it was idle

    (on_rabbitmq.folder / "fault").write_text(worker_faults.stop_consuming.__name__)
    on_rabbitmq.wait_until(lambda: not (on_rabbitmq.folder / "fault").exists(), "it is handed nothing more")
    assert on_rabbitmq.post(generate_events(5)) == 200
    assert worker.wait(PATIENCE) == watchdog.EXIT_STATUS
    assert "messages wait in sendgrid.events" in worker.output()

    on_rabbitmq.worker(name="successor")
    on_rabbitmq.wait_until_received(stored=5)
