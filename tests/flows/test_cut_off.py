"""A task that is cut off, or whose database connection breaks, at its very end: nobody trips over it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from subprocess import check_output
from typing import Any

import psycopg
import pytest

from devstack.postgres import Postgres
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_postgres
from tests.support.flows.deployment import STREAM, Deployment, Servers, once_each
from tests.support.flows.mail_deployment import MailDeployment

_WAIT_FOR_LOCK = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@contextmanager
def locked(database_url: str, table: str) -> Iterator[None]:
    """Whoever reads the table waits, until the end of this or of the server."""
    with closing(psycopg.connect(database_url)) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        with suppress(psycopg.OperationalError):
            connection.rollback()


@on_postgres
def test_the_soft_time_limit_in_the_closing_tick_is_logged_in_one_line(deployment: Deployment) -> None:
    deployment.web()
    with locked(deployment.database_url, "events_app_pendinginbounddelivery"):
        # At its start it ticks, and waits for the table.
        worker = deployment.worker_without_beat("--concurrency", "1")
        deployment.wait_until(lambda: deployment.query(_WAIT_FOR_LOCK), "the tick waits for the lock")
        (child,) = check_output(["pgrep", "-P", str(worker.pid)], text=True).split()
        os.kill(int(child), signal.SIGUSR1)  # as billiard does at the limit (billiard.pool.TimeoutHandler)
        deployment.wait_until(
            lambda: "events.tick stopped at its time limit" in worker.output(), "a line that says so"
        )
    events = generate_events(20)
    assert deployment.post(events) == 200
    deployment.wait_until_received(stored=20)
    assert deployment.called() == once_each(events)
    assert "Traceback" not in worker.output()


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[MailDeployment]:
    mail_deployment = MailDeployment(tmp_path, *own_servers)
    yield mail_deployment
    mail_deployment.stop()


def hang_up(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(_WAIT_FOR_LOCK.replace("pid", "pg_terminate_backend(pid)", 1))


def restart(postgres: Postgres) -> None:
    postgres.stop()
    postgres.start()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize("fault", [hang_up, restart])
def test_a_broken_connection_after_a_delivery_does_not_break_the_task_result(
    on_own_postgres: MailDeployment, postgres: Postgres, fault: Callable[[Postgres], Any], pool: str
) -> None:
    mail_deployment = on_own_postgres
    mailer = mail_deployment.mailer("--pool", pool, "--concurrency", "1")
    held = mail_deployment.sendgrid.hold(after_accepting=True)
    mail_deployment.call("campaign", recipients=2, bulk=True)
    mail_deployment.wait_until(held.arrived.is_set, "the mail accepted")

    with locked(mail_deployment.database_url, "sending_app_opencircuit"):
        with mail_deployment.redis() as redis:
            redis.delete(f"{STREAM}:sending-tick")  # the closing tick is not too early
        held.release()
        mail_deployment.wait_until(
            lambda: mail_deployment.query(_WAIT_FOR_LOCK), "the closing tick waits for the lock"
        )
        fault(postgres)

    mail_deployment.call("send", to=["later@example.com"])
    mail_deployment.wait_for_states("accepted", "accepted")
    results = "SELECT result FROM django_celery_results_taskresult"
    mail_deployment.wait_until(
        lambda: len(mail_deployment.query(results)) >= (2 if fault is hang_up else 1), "the results"
    )
    assert {result for (result,) in mail_deployment.query(results)} == {'{"accepted": 1}'}
    assert "Traceback" not in mailer.output()
    assert len(mail_deployment.sendgrid.accepted) == 2
