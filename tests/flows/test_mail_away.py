"""A server away while mails go out: none is lost, and none goes out twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ground.postgres import Postgres
from ground.valkey import Valkey
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


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    """Another server than the one that keeps events and says whether a bell has been rung."""
    with Valkey(tmp_path / "broker") as server:
        yield server


@pytest.mark.parametrize("fault", [Valkey.freeze, Valkey.kill])
def test_redis_frozen_or_away_while_the_broker_works(
    mailing: Mailing, broker: Valkey, fault: Callable[[Valkey], None]
) -> None:
    mailing.configure(CELERY_BROKER_URL=broker.url(0))
    mailing.mailer()
    mailing.call("send", to=[ANN])
    mailing.wait_for_states("accepted")

    fault(mailing.valkey)
    mailing.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])
    mailing.wait_until(lambda: mailing.states() == ["accepted"] * 21, "all mails accepted without Redis")
    if fault is Valkey.freeze:
        mailing.valkey.thaw()
    else:
        mailing.valkey.start()

    mailing.call("send", to=["later@example.com"])
    mailing.wait_until(lambda: mailing.states() == ["accepted"] * 22, "a mail accepted after it")
    assert len(mailing.sendgrid.accepted) == 22
    assert {(part.attempts, part.sent_twice) for part in mailing.parts()} == {(1, False)}
