"""Another broker: messages are only wake-ups, so any that Celery knows will do."""

import fcntl
import os
import shlex
import subprocess
import sys
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
from tests.support.documents import blocks, commands
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


@pytest.fixture(params=["classic", "quorum"])
def on_rabbitmq(
    request: pytest.FixtureRequest, tmp_path: Path, template: DatabaseTemplate
) -> Iterator[MailDeployment]:
    """With each type of queue."""
    with alone_on_rabbitmq(), Valkey(tmp_path / "valkey") as valkey, Connection(AMQP) as connection:
        url = f"sqlite:///{tmp_path}/db.sqlite3"
        deployment = MailDeployment(tmp_path, valkey, url, template)
        deployment.configure(CELERY_BROKER_URL=AMQP, CELERY_QUEUE_TYPE=request.param)
        delete_queues(connection)  # a queue cannot change its type
        below = [one for one in blocks("docs/brokers.md") if one.heading == "RabbitMQ"]
        (declare_all,) = commands("".join(one.text for one in below if one.language == "sh"))
        python, *arguments = shlex.split(declare_all)
        assert python == "python"
        subprocess.run([sys.executable, *arguments], env=deployment.stack.env, check=True)
        try:
            yield deployment
        finally:
            deployment.stop()
            delete_queues(connection)


def delete_queues(connection: Connection) -> None:
    """Delete our queues and exchanges, and those of Celery's delayed delivery for quorum queues."""
    channel: Any = connection.default_channel
    delayed = [f"celery_delayed_{level}" for level in range(28)]
    for queue in (*QUEUES, *delayed):
        channel.queue_delete(queue)
    for exchange in (*QUEUES, *delayed, "celery_delayed_delivery"):
        channel.exchange_delete(exchange)


def declare_again(queue_type: str) -> None:
    """Declare our queues as the deployment did. RabbitMQ refuses that for a queue of another type."""
    with Connection(AMQP) as connection:
        channel: Any = connection.default_channel
        for queue in QUEUES:
            channel.queue_declare(
                queue, durable=True, auto_delete=False, arguments={"x-queue-type": queue_type}
            )


with_classic_queues = pytest.mark.parametrize("on_rabbitmq", ["classic"], indirect=True)


needs_rabbitmq = pytest.mark.skipif(not AMQP, reason="TEST_AMQP_URL names no RabbitMQ")


@pytest.mark.quick
@needs_rabbitmq
def test_rabbitmq_delivers_wake_ups_for_events_and_mails(on_rabbitmq: MailDeployment) -> None:
    on_rabbitmq.configure(FLOW_WAKE_TIMEOUT=PATIENCE)  # a busy machine's RabbitMQ may take over a second
    on_rabbitmq.web()
    on_rabbitmq.worker()
    events = generate_events(300)

    for at in range(0, 300, 30):
        assert on_rabbitmq.post(events[at : at + 30]) == 200

    on_rabbitmq.wait_until_received(stored=300)
    assert on_rabbitmq.called() == once_each(events)
    assert on_rabbitmq.counted(counters.WAKE_UPS_FAILED) == 0

    on_rabbitmq.mailer()
    on_rabbitmq.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])
    on_rabbitmq.call("campaign", recipients=1500)

    on_rabbitmq.wait_until(lambda: on_rabbitmq.states() == ["accepted"] * 22, "all mails accepted")
    assert on_rabbitmq.counted(counters.WAKE_UPS_FAILED) == 0
    assert not on_rabbitmq.errors()
    declare_again(on_rabbitmq.stack.env["CELERY_QUEUE_TYPE"])


@needs_rabbitmq
@with_classic_queues
def test_the_watchdog_reads_queue_lengths_from_rabbitmq(on_rabbitmq: MailDeployment) -> None:
    on_rabbitmq.configure(FLOW_WATCHDOG_PATIENCE=6, WORKER_WATCHDOG="exit")
    on_rabbitmq.web()
    worker = on_rabbitmq.stack.worker()
    on_rabbitmq.processes.append(worker)

    rounds = WatchdogRounds(on_rabbitmq.folder)
    begin = rounds.count()
    on_rabbitmq.wait_until(lambda: rounds.count() >= begin + 2 * watchdog.ROUNDS, "the watchdog's rounds")
    assert worker.alive  # it was idle

    (on_rabbitmq.folder / "fault").write_text(worker_faults.stop_consuming.__name__)
    on_rabbitmq.wait_until(lambda: not (on_rabbitmq.folder / "fault").exists(), "it is handed nothing more")
    assert on_rabbitmq.post(generate_events(5)) == 200
    assert worker.wait(PATIENCE) == watchdog.EXIT_STATUS
    assert "messages wait in sendgrid.events" in worker.output()

    on_rabbitmq.worker(name="successor")
    on_rabbitmq.wait_until_received(stored=5)
