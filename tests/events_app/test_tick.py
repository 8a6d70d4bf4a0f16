"""The tick finds everything that waits, asked by however many."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from pytest_django import Settings
from redis import RedisError

from events_app import stream, tasks
from events_app.dispatch import leases
from events_app.dispatch.leases import ORPHANED, Lease
from events_app.inbound import storage
from events_app.models import InboundMail, PendingDelivery, PendingInboundDelivery
from events_app.shared import counters, engine, redis
from events_app.shared.database import database_now
from events_app.tasks import record_beat, since_beat
from tests.support.databases import database_away
from tests.support.events.leases import make_due, store_leased

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def nothing_to_prune() -> None:
    """Another process has just looked for inbound mails at the end of their retention, and folded counts."""
    redis.take_lock("inbound_prune", 60_000)
    redis.take_lock("fold", 60_000)


def look_again() -> None:
    """The last tick is long ago."""
    redis.for_workers().delete(redis.key("tick"))


def test_a_tick_without_work_is_due_nothing(database: str) -> None:
    assert tasks.engine.find_due() == []


def test_an_event_in_the_stream_makes_a_drain_due(database: str) -> None:
    stream.append("tracking", [b"{}"])
    assert tasks.engine.find_due() == [tasks.drain]


def test_an_event_read_before_a_worker_death_makes_a_drain_due(database: str) -> None:
    stream.append("tracking", [b"{}"])
    stream.release_entries(
        stream.read_entries(1, leases.lease_duration_ms()).entries, leases.lease_duration_ms()
    )
    assert tasks.engine.find_due() == [tasks.drain]


def test_a_leased_event_makes_nothing_due(database: str) -> None:
    stream.append("tracking", [b"{}"])
    stream.read_entries(1, leases.lease_duration_ms())
    store_leased("A1", lease=Lease())
    assert tasks.engine.find_due() == []


def test_released_work_makes_a_drain_due(database: str) -> None:
    store_leased("A1", lease=Lease())
    make_due(database, lease=None)
    assert tasks.engine.find_due() == [tasks.drain]


@pytest.mark.parametrize("changes", [{"failures": 1}, {"replay": True}])
def test_failed_work_makes_a_retry_due_after_its_backoff(database: str, changes: dict[str, object]) -> None:
    store_leased("A1", lease=Lease())
    PendingDelivery.objects.update(lease=None, **changes)
    assert tasks.engine.find_due() == []
    look_again()
    make_due(database)
    assert tasks.engine.find_due() == [tasks.retry_events]


def test_expired_work_makes_a_recovery_due(database: str) -> None:
    store_leased("A1", lease=Lease())
    make_due(database)
    assert tasks.engine.find_due() == [tasks.recover_events]


def test_orphaned_work_makes_a_recovery_due(database: str) -> None:
    store_leased("A1", lease=Lease())
    make_due(database, lease=ORPHANED)
    assert tasks.engine.find_due() == [tasks.recover_events]


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, [tasks.deliver_inbound]),
        ({"failures": 1}, [tasks.retry_inbound]),
        ({"replay": True}, [tasks.retry_inbound]),
        ({"lease": 17}, [tasks.recover_inbound]),
        ({"lease": ORPHANED}, [tasks.recover_inbound]),
        ({"state": "dead"}, []),
    ],
)
def test_pending_inbound_mail_makes_only_inbound_tasks_due(
    database: str, changes: dict[str, object], due: list[Any]
) -> None:
    mail = InboundMail.objects.create(size=0, digest=b"", received_at=database_now(database))
    work = PendingInboundDelivery.objects.create(
        mail=mail, due=database_now(database) + timedelta(hours=1), **changes
    )
    assert tasks.engine.find_due() == []
    look_again()
    PendingInboundDelivery.objects.update(due=work.due - timedelta(hours=2))
    assert tasks.engine.find_due() == due


def test_several_kinds_of_work_make_several_tasks_due(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    stream.append("tracking", [b"{}"])
    store_leased("A1", lease=Lease())
    make_due(database, lease=None, failures=1)
    store_leased("B2", lease=Lease())
    make_due(database)
    assert tasks.engine.find_due() == [
        tasks.drain,
        tasks.retry_events,
        tasks.recover_events,
        tasks.prune_events,
    ]


def test_a_dead_letter_makes_nothing_due(database: str) -> None:
    store_leased("A1", lease=Lease())
    make_due(database, state="dead")
    assert tasks.engine.find_due() == []


def test_only_one_tick_per_interval_looks_for_work(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "INTERVAL", 3600)
    stream.append("tracking", [b"{}"])
    assert tasks.engine.find_due() == [tasks.drain]
    assert tasks.engine.find_due() == []
    look_again()
    assert tasks.engine.find_due() == [tasks.drain]


def test_tick_raises_when_redis_is_away(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(RedisError):
        tasks.engine.find_due()


def test_tick_raises_when_the_database_is_away(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseError):
        tasks.engine.find_due()


# Retention


def test_with_a_retention_a_prune_is_due_each_minute(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    assert tasks.engine.find_due() == [tasks.prune_events]
    look_again()
    assert tasks.engine.find_due() == []
    left = redis.for_workers().pttl(redis.key("prune"))
    assert 30_000 < left <= 60_000
    redis.for_workers().delete(redis.key("prune"))
    look_again()
    assert tasks.engine.find_due() == [tasks.prune_events]


def test_without_a_retention_no_prune_is_due(database: str) -> None:
    assert tasks.engine.find_due() == []
    assert not redis.for_workers().exists(redis.key("prune"))


def test_with_inbound_storage_an_inbound_prune_is_due_each_hour(database: str) -> None:
    redis.for_workers().delete(redis.key("inbound_prune"))
    assert tasks.engine.find_due() == [tasks.prune_inbound]
    look_again()
    assert tasks.engine.find_due() == []
    assert 3_500_000 < redis.for_workers().pttl(redis.key("inbound_prune")) <= 3_600_000


def test_without_inbound_storage_no_inbound_prune_is_due(database: str, settings: Settings) -> None:
    redis.for_workers().delete(redis.key("inbound_prune"))
    settings.STORAGES = {name: kept for name, kept in settings.STORAGES.items() if name != storage.ALIAS}
    assert tasks.engine.find_due() == []


# Counts for charts


def test_counts_that_are_not_folded_make_a_fold_due_now_and_then(database: str) -> None:
    redis.for_workers().delete(redis.key("fold"))
    assert tasks.engine.find_due() == []
    store_leased("A1", lease=Lease())
    look_again()
    assert tasks.engine.find_due() == [tasks.fold_counts]
    look_again()
    assert tasks.engine.find_due() == []
    assert 15_000 < redis.for_workers().pttl(redis.key("fold")) <= 20_000
    tasks.fold_counts()
    redis.for_workers().delete(redis.key("fold"))
    look_again()
    assert tasks.engine.find_due() == []


# Beat


def last_heard(seconds: int) -> None:
    """The last tick of beat's came so long ago."""
    redis.for_workers().set(redis.key("beat"), redis.for_workers().time()[0] - seconds)


def test_beat_is_expected_from_the_first_tick_on(database: str) -> None:
    assert since_beat() is None
    tasks.engine.find_due()
    heard = since_beat()
    assert heard is not None
    assert heard < 30
    assert counters.read_counters() == {}


def test_a_tick_of_beat_resets_the_time_since_beat(database: str) -> None:
    last_heard(3600)
    late = since_beat()
    assert late is not None
    assert 3600 <= late < 3630
    record_beat()
    heard = since_beat()
    assert heard is not None
    assert heard < 30


def test_a_clock_set_back_gives_no_negative_time_since_beat() -> None:
    last_heard(-3600)
    assert since_beat() == 0


def test_a_late_beat_is_counted_and_warned_of_once_a_minute(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    last_heard(tasks.LATE + 1)
    for _ in range(3):
        tasks.engine.find_due()
        look_again()
    (warning,) = caplog.messages
    assert warning.startswith("No tick of beat for 3")
    assert counters.read_counters() == {"ticks_late": 1}
    assert 50_000 < redis.for_workers().pttl(redis.key("late")) <= 60_000
    redis.for_workers().delete(redis.key("late"))
    tasks.engine.find_due()
    assert len(caplog.messages) == 2
    assert counters.read_counters() == {"ticks_late": 2}


def test_a_punctual_beat_is_not_warned_of(database: str, caplog: pytest.LogCaptureFixture) -> None:
    last_heard(0)
    tasks.engine.find_due()
    assert (caplog.messages, counters.read_counters()) == ([], {})


def test_a_tick_of_a_worker_does_not_count_as_beat(database: str) -> None:
    last_heard(20)
    tasks.engine.find_due()
    late = since_beat()
    assert late is not None
    assert late >= 20
