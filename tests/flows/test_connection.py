"""Connections to the broker that break under an idle worker: it reconnects, and goes on consuming."""

import re
from contextlib import closing

import pytest
from redis import Redis

from devstack.process import Process
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import Deployment, once_each
from tests.support.flows.mail_deployment import MailDeployment

pools = pytest.mark.parametrize("pool", ["prefork", "threads"])


class Broker:
    """The connections that a worker has to the Redis that carries its messages."""

    def __init__(self, valkey: Valkey) -> None:
        self._url = valkey.url(1)

    def has_subscriber(self) -> bool:
        """Whether a worker listens for remote control: its connection for pub/sub is up and subscribed."""
        with closing(Redis.from_url(self._url)) as redis:
            return bool(redis.client_list(_type="pubsub"))

    def cut_subscribers(self) -> None:
        with closing(Redis.from_url(self._url)) as redis:
            assert redis.client_kill_filter(_type="pubsub")

    def cut_everything(self) -> None:
        """As a proxy does when it restarts: all connections end at once, and the server is up."""
        with closing(Redis.from_url(self._url)) as redis, redis.pipeline(transaction=False) as both:
            both.client_kill_filter(_type="pubsub")
            both.client_kill_filter(_type="normal", skipme=True)
            assert all(both.execute())


def received_ticks(worker: Process) -> list[str]:
    return re.findall(r"Task sending\.tick\[\S+\] received", worker.output())


@pytest.mark.quick
@on_sqlite
@pools
def test_a_worker_reconnects_after_its_pubsub_connection_is_cut(deployment: Deployment, pool: str) -> None:
    deployment.web()
    deployment.worker("--pool", pool)
    broker = Broker(deployment.valkey)
    events = generate_events(2)

    # The second cut meets the connections of a consumer that has been started again.
    for stored, event in enumerate(events, start=1):
        deployment.wait_until(broker.has_subscriber, "the worker listens")
        broker.cut_subscribers()
        assert deployment.post([event]) == 200
        deployment.wait_until_received(stored=stored)

    deployment.wait_until(broker.has_subscriber, "the worker listens again")
    assert deployment.called() == once_each(events)


@on_sqlite
@pools
def test_a_worker_reconnects_after_all_its_connections_are_cut_at_once(
    deployment: Deployment, pool: str
) -> None:
    deployment.web()
    deployment.worker("--pool", pool)
    broker = Broker(deployment.valkey)
    events = generate_events(1)

    # The kernel decides which end the worker sees first; only some orders did harm.
    for _ in range(12):
        deployment.wait_until(broker.has_subscriber, "the worker listens")
        broker.cut_everything()

    # The webhook view's own connection was cut as well: it answers 503 once.
    deployment.wait_until(lambda: deployment.post(events) == 200, "the post taken")
    deployment.wait_until_received(stored=1)
    assert deployment.called() == once_each(events)


@on_sqlite
@pools
def test_a_frozen_worker_reconnects_after_a_restart_of_redis(deployment: Deployment, pool: str) -> None:
    deployment.web()
    worker = deployment.worker("--pool", pool)
    broker = Broker(deployment.valkey)
    events = generate_events(1)

    for _ in range(4):
        deployment.wait_until(broker.has_subscriber, "the worker listens")
        worker.freeze()
        deployment.valkey.kill()
        deployment.valkey.start()
        worker.thaw()

    deployment.wait_until(lambda: deployment.post(events) == 200, "the post taken")
    deployment.wait_until_received(stored=1)
    assert deployment.called() == once_each(events)


@on_sqlite
def test_a_mail_worker_reconnects_after_its_pubsub_connection_is_cut(mail_deployment: MailDeployment) -> None:
    mail_deployment.mailer()
    broker = Broker(mail_deployment.valkey)

    for sent in (1, 2):
        mail_deployment.wait_until(broker.has_subscriber, "the mailer listens")
        broker.cut_subscribers()
        mail_deployment.call("send", to=["ann@example.com"])
        mail_deployment.wait_for_states(*["accepted"] * sent)


@on_sqlite
def test_a_busy_worker_with_a_prefetched_message_survives_a_restart_of_redis(
    mail_deployment: MailDeployment,
) -> None:
    """Celery 5.7.0's worker does not: the reason for the upper end of the range in pyproject.toml."""
    mailer = mail_deployment.mailer_without_beat("--concurrency", "2")
    held = []
    for address in ("ann@example.com", "bob@example.com"):
        held.append(mail_deployment.sendgrid.hold())
        mail_deployment.call("send", to=[address])
        mail_deployment.wait_until(held[-1].arrived.is_set, "SendGrid has the mail")
    # Received and not acknowledged, for no thread is free; and there is room for one more.
    ticks = len(received_ticks(mailer))
    mail_deployment.tick_now()
    mail_deployment.wait_until(lambda: len(received_ticks(mailer)) > ticks, "the mailer holds a tick")

    mail_deployment.valkey.kill()
    mail_deployment.wait_until(lambda: "Cannot connect to" in mailer.output(), "the mailer has seen it")
    mail_deployment.valkey.start()
    for mail in held:
        mail.release()

    mail_deployment.wait_until(Broker(mail_deployment.valkey).has_subscriber, "the mailer listens again")
    mail_deployment.call("send", to=["carol@example.com"])
    mail_deployment.wait_for_states(*["accepted"] * 3)
    assert mailer.alive


@on_sqlite
def test_a_broken_connection_is_logged_in_one_line(deployment: Deployment) -> None:
    worker = deployment.worker()  # with beat inside
    broker = Broker(deployment.valkey)
    deployment.wait_until(broker.has_subscriber, "the worker listens")
    # The worker sends itself two ticks.
    deployment.wait_until(lambda: worker.output().count(".tick sent") > 2, "beat has a connection")
    before = len(worker.output())

    deployment.valkey.kill()
    for report in ("Connection to broker lost", "Cannot connect to", "Message Error"):
        deployment.wait_until(lambda: report in worker.output(), f"the log says {report!r}")  # noqa: B023
    deployment.valkey.start()
    deployment.wait_until(broker.has_subscriber, "the worker listens again")

    lines = worker.output()[before:].splitlines()
    assert not [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert [line for line in lines if line.endswith("re-establish the connection... (ConnectionError)")]
