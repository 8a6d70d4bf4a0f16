"""The tick finds every mail that is due, and the parts nobody will finish, asked by however many."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError

from events_app.shared import engine, redis
from sending_app import account, tasks
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker
from sending_app.exceptions import Outcome
from sending_app.models import Mail, OpenCircuit
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
    redis.for_workers().set(redis.key("sending-count"), 1, px=60_000)
    redis.for_workers().set(redis.key("sending-reconcile"), 1, px=60_000)
    redis.for_workers().set(redis.key("sending-prune"), 1, px=60_000)


def look_again() -> None:
    """The last tick is long ago."""
    redis.for_workers().delete(redis.key("sending-tick"))


def test_a_tick_without_work_is_due_nothing(database: str) -> None:
    assert tasks.engine.find_due() == []


def test_each_lane_is_due_separately(database: str) -> None:
    put_in_outbox()
    assert tasks.engine.find_due() == [tasks.deliver_mails]
    put_in_outbox(mail(bulk=True))
    look_again()
    assert tasks.engine.find_due() == [tasks.deliver_mails, tasks.deliver_bulk]
    take_lease()
    look_again()
    assert tasks.engine.find_due() == [tasks.deliver_bulk]


def test_mails_due_later_or_without_settings_make_nothing_due(
    database: str, anymail: Callable[..., None]
) -> None:
    put_in_outbox()
    Mail.objects.update(due=only_part().due + timedelta(hours=1))
    assert tasks.engine.find_due() == []
    Mail.objects.update(due=only_part().created_at)
    anymail(SENDGRID_API_KEY=None)
    look_again()
    assert tasks.engine.find_due() == []


def test_an_open_circuit_breaker_makes_nothing_due_until_it_is_half_open(database: str) -> None:
    put_in_outbox()
    circuit_breaker.trip(account.named("default"), SendResult(Outcome.PAUSED, 429), is_probe=False)
    assert tasks.engine.find_due() == []
    OpenCircuit.objects.update(probe_at=OpenCircuit.objects.get().opened_at)
    look_again()
    assert tasks.engine.find_due() == [tasks.deliver_mails]


@pytest.mark.parametrize("state", ["posting", "unknown"])
def test_expired_and_unknown_mails_make_reconciliation_due(database: str, state: str) -> None:
    put_in_outbox()
    Mail.objects.update(state=state, due=only_part().created_at)
    assert tasks.engine.find_due() == [tasks.reconcile_unknown]
    Mail.objects.update(due=only_part().created_at + timedelta(hours=1))
    look_again()
    assert tasks.engine.find_due() == []


def test_reconciliation_prune_and_counts_are_due_periodically(database: str) -> None:
    for name in ("sending-reconcile", "sending-prune", "sending-count"):
        redis.for_workers().delete(redis.key(name))
    assert tasks.engine.find_due() == [tasks.reconcile_unknown, tasks.prune_mails, tasks.count_mails]
    look_again()
    assert tasks.engine.find_due() == []
    for name, seconds in (
        ("sending-reconcile", tasks.RECONCILE_EVERY),
        ("sending-prune", tasks.PRUNE_EVERY),
        ("sending-count", tasks.COUNT_EVERY),
    ):
        assert 0 < redis.for_workers().pttl(redis.key(name)) <= seconds * 1000


def test_only_one_tick_per_interval_looks_for_work(database: str) -> None:
    put_in_outbox()
    assert [tasks.engine.find_due(), tasks.engine.find_due(), tasks.engine.find_due()] == [
        [tasks.deliver_mails],
        [],
        [],
    ]
    assert 0 < redis.for_workers().pttl(redis.key("sending-tick")) < engine.INTERVAL * 1000


def test_without_redis_each_process_looks_for_work_once_per_interval(
    database: str, anymail: Callable[..., None]
) -> None:
    """Each task ends with a tick: if every tick woke tasks, the messages would double with each task."""
    put_in_outbox()
    anymail(EVENT_REDIS_URL=CLOSED)
    assert tasks.engine.find_due() == [
        tasks.deliver_mails,
        tasks.reconcile_unknown,
        tasks.prune_mails,
        tasks.count_mails,
    ]
    assert tasks.engine.find_due() == []
    engine._not_before["sending-tick"] -= engine.INTERVAL  # some seconds later
    assert tasks.engine.find_due() == [tasks.deliver_mails]


def test_tick_raises_when_the_database_is_away(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseError):
        tasks.engine.find_due()
