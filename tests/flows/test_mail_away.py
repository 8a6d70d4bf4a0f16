"""The database away while SendGrid has a mail: what SendGrid said is written when it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ground.postgres import Postgres
from tests.flows.conftest import Servers
from tests.flows.mailing import Mailing

ANN = "ann@example.com"


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[Mailing]:
    mailing = Mailing(tmp_path, *own_servers)
    yield mailing
    mailing.stop()


def test_postgresql_stopped_while_sendgrid_has_a_mail(on_own_postgres: Mailing, postgres: Postgres) -> None:
    mailing = on_own_postgres
    mailer = mailing.mailer("--concurrency", "1")
    held = mailing.sendgrid.hold(after_accepting=True)
    mailing.call("send", to=[ANN])
    mailing.wait_until(held.arrived.is_set, "the mail accepted")

    postgres.stop()
    held.release()
    mailing.wait_until(lambda: "to be taken up again" in mailer.output(), "an outcome that cannot be written")
    postgres.start()

    mailing.wait_for_states("accepted")
    mine = mailing.parts()[0]
    assert (mine.attempts, mine.unknowns, mine.sent_twice) == (1, 0, False)
    assert len(mailing.accepted(ANN)) == 1


def test_redis_stopped_while_sendgrid_has_a_mail(mailing: Mailing) -> None:
    mailer = mailing.mailer("--concurrency", "1")
    held = mailing.sendgrid.hold(after_accepting=True)
    mailing.call("send", to=[ANN])
    mailing.wait_until(held.arrived.is_set, "the mail accepted")

    mailing.valkey.kill()
    held.release()
    mailing.wait_for_states("accepted")
    mailing.call("send", to=["later@example.com"])
    mailing.valkey.start()

    mailing.wait_for_states("accepted", "accepted")
    assert mailer.alive
    assert len(mailing.sendgrid.accepted) == 2
