"""What the databases keep, and that each key is kept once."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.db import DataError, IntegrityError, connections, transaction
from django.utils import timezone

from events_app.models import Event, PendingDelivery
from events_app.shared.database import database_now
from tests.support.events.stored_events import NOON, new_event

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def keys(numbers: Iterable[int]) -> set[bytes]:
    return {number.to_bytes(16) for number in numbers}


def test_an_inserted_row_is_read_back_unchanged(database: str) -> None:
    given = new_event(7, raw=b"\x00\xff no text", event_id="Üß\U0001f600", timestamp=None)
    ids = Event.objects.insert_new([given], database)
    found = Event.objects.get(pk=ids[(7).to_bytes(16)])
    for field in Event._meta.concrete_fields:
        if not field.primary_key:
            value = getattr(found, field.attname)
            assert (bytes(value) if isinstance(value, memoryview) else value) == getattr(given, field.attname)


def test_insert_new_inserts_and_returns_only_new_keys(database: str) -> None:
    first = Event.objects.insert_new([new_event(1), new_event(2)], database)
    second = Event.objects.insert_new(
        [new_event(3), new_event(2, event_id="changed"), new_event(1)], database
    )
    assert (set(first), set(second)) == (keys([1, 2]), keys([3]))
    assert Event.objects.count() == 3
    assert not Event.objects.filter(event_id="changed").exists()


def test_insert_new_returns_nothing_for_duplicates(database: str) -> None:
    Event.objects.insert_new([new_event(1)], database)
    assert Event.objects.insert_new([new_event(1)], database) == {}


def test_a_duplicate_key_in_one_call_is_inserted_once(database: str) -> None:
    assert set(Event.objects.insert_new([new_event(1), new_event(2), new_event(1)], database)) == keys([1, 2])
    assert Event.objects.count() == 2


def test_insert_new_splits_rows_over_several_statements(database: str) -> None:
    ids = Event.objects.insert_new([new_event(number) for number in range(4500)], database)
    assert set(ids) == keys(range(4500))
    assert len(set(ids.values())) == Event.objects.count() == 4500


def test_insert_new_returns_the_id_of_each_key(database: str) -> None:
    ids = Event.objects.insert_new([new_event(number) for number in (5, 3, 9)], database)
    assert {bytes(found.key): found.pk for found in Event.objects.all()} == ids


def test_a_rolled_back_transaction_keeps_no_rows(database: str) -> None:
    with transaction.atomic(using=database):
        Event.objects.insert_new([new_event(1)], database)
        transaction.set_rollback(True, using=database)
    assert not Event.objects.exists()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_postgresql_refuses_a_value_too_long_for_its_column(database: str) -> None:
    with pytest.raises(DataError):
        Event.objects.insert_new([new_event(1), new_event(2, event_id="x" * 256)], database)
    assert not Event.objects.exists()


def test_one_refused_row_prevents_the_whole_insert(database: str) -> None:
    with pytest.raises(IntegrityError):
        Event.objects.insert_new([new_event(1), new_event(2, webhook=None), new_event(3)], database)
    assert not Event.objects.exists()


def test_database_now_advances_within_a_transaction(database: str) -> None:
    assert abs(database_now(database) - timezone.now()) < timedelta(minutes=1)
    with transaction.atomic(using=database):
        assert database_now(database) < database_now(database)


def test_pending_work_has_defaults_and_a_readable_name(database: str) -> None:
    ((_, pk),) = Event.objects.insert_new([new_event(1)], database).items()
    work = PendingDelivery.objects.create(event_id=pk, due=NOON)
    assert (work.state, work.lease, work.error) == (PendingDelivery.State.PENDING, None, "")
    assert (work.failures, work.worker_deaths, work.replay, work.receivers) == (0, 0, False, {})
    assert (str(work), str(work.event)) == (f"pending delivery of event {pk}", f"opened event {pk}")


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_autovacuum_of_pending_work_uses_fixed_thresholds(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'events_app_pendingdelivery'::regclass")
        (found,) = cursor.fetchone()
    assert {
        "autovacuum_vacuum_scale_factor=0",
        "autovacuum_vacuum_threshold=10000",
        "autovacuum_vacuum_cost_delay=0",
        "autovacuum_analyze_scale_factor=0",
        "autovacuum_analyze_threshold=10000",
    } <= set(found)
