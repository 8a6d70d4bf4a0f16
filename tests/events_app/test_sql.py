"""Each hand-written statement does the same on both databases."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.db import DataError, IntegrityError, connections, transaction
from django.forms import model_to_dict

from events_app import sql
from events_app.models import Event, PendingDelivery
from events_app.shared.database import database_now
from tests.support.databases import on_postgresql
from tests.support.events.stored_events import add_pending, new_event

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MINUTE = timedelta(minutes=1)


def keys(numbers: Iterable[int]) -> set[bytes]:
    return {number.to_bytes(16) for number in numbers}


def test_an_inserted_row_is_read_back_unchanged(database: str) -> None:
    given = new_event(7, raw=b"\x00\xff no text", event_id="Üß\U0001f600", timestamp=None)
    ids = sql.insert_new_events([given], database)
    found = Event.objects.get(pk=ids[(7).to_bytes(16)])
    for field in Event._meta.concrete_fields:
        if not field.primary_key:
            value = getattr(found, field.attname)
            assert (bytes(value) if isinstance(value, memoryview) else value) == getattr(given, field.attname)


def test_insert_new_events_inserts_and_returns_only_new_keys(database: str) -> None:
    first = sql.insert_new_events([new_event(1), new_event(2)], database)
    second = sql.insert_new_events([new_event(3), new_event(2, event_id="changed"), new_event(1)], database)
    assert (set(first), set(second)) == (keys([1, 2]), keys([3]))
    assert Event.objects.count() == 3
    assert not Event.objects.filter(event_id="changed").exists()


def test_insert_new_events_returns_nothing_for_duplicates(database: str) -> None:
    sql.insert_new_events([new_event(1)], database)
    assert sql.insert_new_events([new_event(1)], database) == {}


def test_a_duplicate_key_in_one_call_is_inserted_once(database: str) -> None:
    assert set(sql.insert_new_events([new_event(1), new_event(2), new_event(1)], database)) == keys([1, 2])
    assert Event.objects.count() == 2


def test_insert_new_events_takes_thousands_of_rows(database: str) -> None:
    ids = sql.insert_new_events([new_event(number) for number in range(4500)], database)
    assert set(ids) == keys(range(4500))
    assert len(set(ids.values())) == Event.objects.count() == 4500


def test_insert_new_events_returns_the_id_of_each_key(database: str) -> None:
    ids = sql.insert_new_events([new_event(number) for number in (5, 3, 9)], database)
    assert {bytes(found.key): found.pk for found in Event.objects.all()} == ids


def test_a_rolled_back_transaction_keeps_no_rows(database: str) -> None:
    with transaction.atomic(using=database):
        sql.insert_new_events([new_event(1)], database)
        transaction.set_rollback(True, using=database)
    assert not Event.objects.exists()


@on_postgresql
def test_postgresql_refuses_a_value_too_long_for_its_column(database: str) -> None:
    with pytest.raises(DataError):
        sql.insert_new_events([new_event(1), new_event(2, event_id="x" * 256)], database)
    assert not Event.objects.exists()


def test_one_refused_row_prevents_the_whole_insert(database: str) -> None:
    with pytest.raises(IntegrityError):
        sql.insert_new_events([new_event(1), new_event(2, webhook=None), new_event(3)], database)
    assert not Event.objects.exists()


def test_leased_deliveries_have_the_defaults_of_the_model(database: str) -> None:
    pks = sorted(sql.insert_new_events([new_event(number) for number in (1, 2)], database).values())
    before = database_now(database)
    sql.insert_deliveries(pks, 7, MINUTE, database)
    for pending, pk in zip(PendingDelivery.objects.order_by("pk"), pks, strict=True):
        assert before + MINUTE <= pending.due <= database_now(database) + MINUTE
        expected = PendingDelivery(event_id=pk, lease=7, due=pending.due)
        assert model_to_dict(pending) == model_to_dict(expected)


def test_leased_deliveries_have_the_traceparents_of_their_events(database: str) -> None:
    pks = sorted(sql.insert_new_events([new_event(number) for number in (1, 2)], database).values())
    sql.insert_deliveries(pks, 7, MINUTE, database, {pks[1]: "00-1-2-01"})
    rows = PendingDelivery.objects.order_by("pk").values_list("pk", "traceparent", "lease")
    assert list(rows) == [(pks[0], "", 7), (pks[1], "00-1-2-01", 7)]


def test_only_deliveries_under_the_lease_are_deleted(database: str) -> None:
    pks = sorted(sql.insert_new_events([new_event(number) for number in range(4)], database).values())
    sql.insert_deliveries(pks[:3], 7, MINUTE, database)
    sql.insert_deliveries(pks[3:], 8, MINUTE, database)
    PendingDelivery.objects.filter(pk=pks[1]).update(state=PendingDelivery.State.DEAD_LETTER)
    sql.delete_deliveries(PendingDelivery, [pks[3], pks[1], pks[0]], 7, database)
    assert sorted(PendingDelivery.objects.values_list("pk", flat=True)) == pks[1:]


def test_count_failed_receivers_counts_by_name_and_state(database: str) -> None:
    pks = sql.insert_new_events([new_event(number) for number in range(3)], database).values()
    receivers: list[dict[str, str]] = [{"shop": "Error", "0": "Error"}, {"shop": "Error", "crm": ""}, {}]
    states = (PendingDelivery.State.PENDING, PendingDelivery.State.DEAD_LETTER, PendingDelivery.State.PENDING)
    for pk, errors, state in zip(pks, receivers, states, strict=True):
        add_pending(pk, receivers=errors, state=state)
    assert sql.count_failed_receivers(PendingDelivery, database) == {
        ("shop", "pending"): 1,
        ("0", "pending"): 1,
        ("shop", "dead"): 1,
    }


def idle_limit(database: str) -> str:
    with connections[database].cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        (found,) = cursor.fetchone()
    return str(found)


@on_postgresql
def test_end_when_idle_sets_the_idle_transaction_timeout_of_postgresql(database: str) -> None:
    before = idle_limit(database)
    with transaction.atomic(using=database):
        sql.end_when_idle(database, 90_000)
        assert idle_limit(database) == "90s"
    assert idle_limit(database) == before != "90s"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_end_when_idle_does_nothing_on_sqlite(database: str) -> None:
    with transaction.atomic(using=database):
        sql.end_when_idle(database, 90_000)
        sql.insert_new_events([new_event(1)], database)
    assert Event.objects.count() == 1
