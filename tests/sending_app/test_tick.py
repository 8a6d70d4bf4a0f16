"""The tick finds every mail that is due, and the parts nobody will finish, asked by however many."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError

from events_app import redis
from sending_app import account, pauses
from sending_app import tick as tick_module
from sending_app.client import Outcome, Verdict
from sending_app.models import Part, Pause
from sending_app.tick import Due, tick
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


def test_nothing_waits(database: str) -> None:
    assert tick() == Due()


def test_each_lane_has_a_bell_of_its_own(database: str) -> None:
    put_in_outbox()
    assert tick() == Due(mail=True)
    put_in_outbox(mail(bulk=True))
    look_again()
    assert tick() == Due(mail=True, bulk=True)
    take_lease()
    look_again()
    assert tick() == Due(bulk=True)


def test_what_is_due_later_or_has_no_settings_wants_nothing(
    database: str, anymail: Callable[..., None]
) -> None:
    put_in_outbox()
    Part.objects.update(due=only_part().due + timedelta(hours=1))
    assert tick() == Due()
    Part.objects.update(due=only_part().created_at)
    anymail(SENDGRID_API_KEY=None)
    look_again()
    assert tick() == Due()


def test_a_pause_holds_the_bell_until_it_is_over(database: str) -> None:
    put_in_outbox()
    pauses.begin(account.named("default"), Outcome(Verdict.PAUSED, 429), trying=False)
    assert tick() == Due()
    Pause.objects.update(until=Pause.objects.get().since)
    look_again()
    assert tick() == Due(mail=True)


@pytest.mark.parametrize("state", ["posting", "unknown"])
def test_what_nobody_will_finish_wants_to_be_settled(database: str, state: str) -> None:
    put_in_outbox()
    Part.objects.update(state=state, due=only_part().created_at)
    assert tick() == Due(settle=True)
    Part.objects.update(due=only_part().created_at + timedelta(hours=1))
    look_again()
    assert tick() == Due()


def test_now_and_then_it_is_looked_for_what_is_too_old(database: str) -> None:
    redis.worker().delete(redis.key("sending-settle"), redis.key("sending-prune"))
    assert tick() == Due(settle=True, prune=True)
    look_again()
    assert tick() == Due()
    for name, seconds in (
        ("sending-settle", tick_module.SETTLE_EVERY),
        ("sending-prune", tick_module.PRUNE_EVERY),
    ):
        assert 0 < redis.worker().pttl(redis.key(name)) <= seconds * 1000


def test_of_many_one_looks(database: str) -> None:
    put_in_outbox()
    assert [tick(), tick(), tick()] == [Due(mail=True), Due(), Due()]
    assert 0 < redis.worker().pttl(redis.key("sending-tick")) < tick_module.INTERVAL * 1000


def test_without_redis_everybody_looks(database: str, anymail: Callable[..., None]) -> None:
    put_in_outbox()
    anymail(EVENT_REDIS_URL=CLOSED)
    assert [tick().mail, tick().mail] == [True, True]


def test_a_database_that_is_away_is_the_callers(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseError):
        tick()
