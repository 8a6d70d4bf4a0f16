"""A server away while mails go out: none is lost, and none goes out twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support.flows.deployment import Servers
from tests.support.flows.mail_deployment import MailDeployment

ANN = "ann@example.com"


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[MailDeployment]:
    mail_deployment = MailDeployment(tmp_path, *own_servers)
    yield mail_deployment
    mail_deployment.stop()


def test_postgresql_outage_during_a_request_loses_no_outcome(
    on_own_postgres: MailDeployment, postgres: Postgres
) -> None:
    mail_deployment = on_own_postgres
    mailer = mail_deployment.mailer("--concurrency", "1")
    held = mail_deployment.sendgrid.hold(after_accepting=True)
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(held.arrived.is_set, "the mail accepted")

    postgres.stop()
    held.release()
    mail_deployment.wait_until(
        lambda: "the next tick continues" in mailer.output(), "an outcome that cannot be written"
    )
    postgres.start()

    mail_deployment.wait_for_states("accepted")
    mine = mail_deployment.parts()[0]
    assert (mine.attempts, mine.unknown_outcomes, mine.sent_twice) == (1, 0, False)
    assert len(mail_deployment.accepted(ANN)) == 1


def test_redis_outage_during_a_request_loses_no_outcome(mail_deployment: MailDeployment) -> None:
    mailer = mail_deployment.mailer("--concurrency", "1")
    held = mail_deployment.sendgrid.hold(after_accepting=True)
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(held.arrived.is_set, "the mail accepted")

    mail_deployment.valkey.kill()
    held.release()
    mail_deployment.wait_for_states("accepted")
    mail_deployment.call("send", to=["later@example.com"])
    mail_deployment.valkey.start()

    mail_deployment.wait_for_states("accepted", "accepted")
    assert mailer.alive
    assert len(mail_deployment.sendgrid.accepted) == 2


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    """Another server than the one that keeps events and says whether a wake-up is on its way."""
    with Valkey(tmp_path / "broker") as server:
        yield server


@pytest.mark.parametrize("fault", [Valkey.freeze, Valkey.kill])
def test_redis_frozen_or_away_with_a_working_broker_stops_no_mail(
    mail_deployment: MailDeployment, broker: Valkey, fault: Callable[[Valkey], None]
) -> None:
    mail_deployment.configure(CELERY_BROKER_URL=broker.url(0))
    mail_deployment.mailer()
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_for_states("accepted")

    fault(mail_deployment.valkey)
    mail_deployment.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])
    mail_deployment.wait_until(
        lambda: mail_deployment.states() == ["accepted"] * 21, "all mails accepted without Redis"
    )
    if fault is Valkey.freeze:
        mail_deployment.valkey.thaw()
    else:
        mail_deployment.valkey.start()

    mail_deployment.call("send", to=["later@example.com"])
    mail_deployment.wait_until(
        lambda: mail_deployment.states() == ["accepted"] * 22, "a mail accepted after it"
    )
    assert len(mail_deployment.sendgrid.accepted) == 22
    assert {(part.attempts, part.sent_twice) for part in mail_deployment.parts()} == {(1, False)}
