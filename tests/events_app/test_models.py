"""What the databases keep, and that each key is kept once."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from events_app.models import Event, Work, database_now

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = datetime(2026, 7, 14, 12, 0, 0, 123456, UTC)


def event(number: int, **fields: Any) -> Event:
    values: dict[str, Any] = {
        "key": number.to_bytes(16),
        "event_type": "opened",
        "event_id": f"id-{number}",
        "message_id": "0c5c1a52",
        "recipient": "mira.okafor@example.net",
        "timestamp": NOON,
        "received_at": NOON,
        "door": "tracking",
        "raw": b'{"event": "open"}',
    }
    return Event(**values | fields)


def keys(numbers: Iterable[int]) -> set[bytes]:
    return {number.to_bytes(16) for number in numbers}


def test_a_row_comes_back_as_it_went_in(database: str) -> None:
    given = event(7, raw=b"\x00\xff no text", event_id="Üß\U0001f600", timestamp=None)
    ids = Event.objects.insert_new([given], database)
    found = Event.objects.get(pk=ids[(7).to_bytes(16)])
    for field in Event._meta.concrete_fields:
        if not field.primary_key:
            value = getattr(found, field.attname)
            assert (bytes(value) if isinstance(value, memoryview) else value) == getattr(given, field.attname)


def test_only_new_keys_are_inserted_and_answered(database: str) -> None:
    first = Event.objects.insert_new([event(1), event(2)], database)
    second = Event.objects.insert_new([event(3), event(2, event_id="changed"), event(1)], database)
    assert (set(first), set(second)) == (keys([1, 2]), keys([3]))
    assert Event.objects.count() == 3
    assert not Event.objects.filter(event_id="changed").exists()


def test_nothing_new_answers_nothing(database: str) -> None:
    Event.objects.insert_new([event(1)], database)
    assert Event.objects.insert_new([event(1)], database) == {}


def test_a_key_twice_in_one_call_is_inserted_once(database: str) -> None:
    assert set(Event.objects.insert_new([event(1), event(2), event(1)], database)) == keys([1, 2])
    assert Event.objects.count() == 2


def test_more_rows_than_one_statement_takes(database: str) -> None:
    ids = Event.objects.insert_new([event(number) for number in range(4500)], database)
    assert set(ids) == keys(range(4500))
    assert len(set(ids.values())) == Event.objects.count() == 4500


def test_each_id_is_its_own_keys(database: str) -> None:
    ids = Event.objects.insert_new([event(number) for number in (5, 3, 9)], database)
    assert {bytes(found.key): found.pk for found in Event.objects.all()} == ids


def test_rows_of_a_transaction_that_fails_are_not_kept(database: str) -> None:
    with transaction.atomic(using=database):
        Event.objects.insert_new([event(1)], database)
        transaction.set_rollback(True, using=database)
    assert not Event.objects.exists()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_postgresql_refuses_what_a_column_has_no_room_for(database: str) -> None:
    with pytest.raises(DataError):
        Event.objects.insert_new([event(1), event(2, event_id="x" * 256)], database)
    assert not Event.objects.exists()


def test_one_row_that_is_refused_keeps_all_from_being_inserted(database: str) -> None:
    with pytest.raises(IntegrityError):
        Event.objects.insert_new([event(1), event(2, door=None), event(3)], database)
    assert not Event.objects.exists()


def test_the_databases_clock_is_a_clock(database: str) -> None:
    assert abs(database_now(database) - timezone.now()) < timedelta(minutes=1)
    with transaction.atomic(using=database):
        assert database_now(database) < database_now(database)


def test_work_says_what_it_is_about(database: str) -> None:
    ((_, pk),) = Event.objects.insert_new([event(1)], database).items()
    work = Work.objects.create(event_id=pk, due=NOON)
    assert (work.state, work.attempts, work.failed, work.error) == (Work.State.OWED, 0, [], "")
    assert (str(work), str(work.event)) == (f"owed work for event {pk}", f"opened event {pk}")
