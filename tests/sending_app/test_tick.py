"""The tick finds every mail that is due, and the parts nobody will finish, asked by however many."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError

from events_app.shared import redis
from sending_app import account
from sending_app import tasks as tick_module
from sending_app.api.client import Outcome
from sending_app.delivery import circuit_breaker
from sending_app.exceptions import Verdict
from sending_app.models import Part, Pause
from sending_app.tasks import Due, look
from tests.support.databases import database_away
from tests.support.sending.delivery import take_lease
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

CLOSED = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one")


@pytest.fixture(autouse=True)
def settled_and_pruned(stream: str) -> None:
    """A moment ago."""
    redis.worker().set(redis.key("sending-settle"), 1, px=60_000)
    redis.worker().set(redis.key("sending-prune"), 1, px=60_000)


def look_again() -> None:
    """The last tick is long ago."""
    redis.worker().delete(redis.key("sending-tick"))


def test_a_tick_without_work_is_due_nothing(database: str) -> None:
    assert look() == Due()


def test_each_lane_is_due_separately(database: str) -> None:
    put_in_outbox()
    assert look() == Due(mail=True)
    put_in_outbox(mail(bulk=True))
    look_again()
    assert look() == Due(mail=True, bulk=True)
    take_lease()
    look_again()
    assert look() == Due(bulk=True)


def test_mails_due_later_or_without_settings_make_nothing_due(
    database: str, anymail: Callable[..., None]
) -> None:
    put_in_outbox()
    Part.objects.update(due=only_part().due + timedelta(hours=1))
    assert look() == Due()
    Part.objects.update(due=only_part().created_at)
    anymail(SENDGRID_API_KEY=None)
    look_again()
    assert look() == Due()


def test_an_open_circuit_breaker_makes_nothing_due_until_it_is_half_open(database: str) -> None:
    put_in_outbox()
    circuit_breaker.begin(account.named("default"), Outcome(Verdict.PAUSED, 429), trying=False)
    assert look() == Due()
    Pause.objects.update(until=Pause.objects.get().since)
    look_again()
    assert look() == Due(mail=True)


@pytest.mark.parametrize("state", ["posting", "unknown"])
def test_expired_and_unknown_mails_make_reconciliation_due(database: str, state: str) -> None:
    put_in_outbox()
    Part.objects.update(state=state, due=only_part().created_at)
    assert look() == Due(settle=True)
    Part.objects.update(due=only_part().created_at + timedelta(hours=1))
    look_again()
    assert look() == Due()


def test_reconciliation_and_prune_are_due_periodically(database: str) -> None:
    redis.worker().delete(redis.key("sending-settle"), redis.key("sending-prune"))
    assert look() == Due(settle=True, prune=True)
    look_again()
    assert look() == Due()
    for name, seconds in (
        ("sending-settle", tick_module.SETTLE_EVERY),
        ("sending-prune", tick_module.PRUNE_EVERY),
    ):
        assert 0 < redis.worker().pttl(redis.key(name)) <= seconds * 1000


def test_only_one_tick_per_interval_looks_for_work(database: str) -> None:
    put_in_outbox()
    assert [look(), look(), look()] == [Due(mail=True), Due(), Due()]
    assert 0 < redis.worker().pttl(redis.key("sending-tick")) < tick_module.INTERVAL * 1000


def test_without_redis_every_tick_looks_for_work(database: str, anymail: Callable[..., None]) -> None:
    put_in_outbox()
    anymail(EVENT_REDIS_URL=CLOSED)
    assert [look().mail, look().mail] == [True, True]


def test_tick_raises_when_the_database_is_away(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseError):
        look()
