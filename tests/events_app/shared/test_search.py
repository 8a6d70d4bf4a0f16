"""Times are found by ids, and a search looks at a bounded number of rows."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events_app.models import Event, PendingDelivery
from events_app.shared import search
from events_app.sql import insert_new_events
from tests.support.events.stored_events import NOON, add_pending, new_event

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

times = st.integers(-3000, 3000).map(lambda minutes: NOON + timedelta(minutes=minutes))


def store_at(database: str, *times: datetime) -> list[int]:
    events = [new_event(number, received_at=at) for number, at in enumerate(times, 1)]
    return list(insert_new_events(events, database).values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(times, max_size=12),
    st.lists(st.integers(0, 60), min_size=12, max_size=12),
    st.none() | times,
    st.none() | times,
)
def test_a_range_of_times_finds_the_rows_of_those_times(
    database: str,
    stored: list[datetime],
    late_by: list[int],
    since: datetime | None,
    until: datetime | None,
) -> None:
    Event.objects.all().delete()
    # In the order of their times, but for an hour.
    for number, (at, minutes) in enumerate(zip(sorted(stored), late_by, strict=False), 1):
        received_at = at - timedelta(minutes=minutes)
        Event.objects.create(pk=number * 7, key=number.to_bytes(16), received_at=received_at, raw=b"")
    assert set(search.between(Event.objects.all(), "received_at", since, until)) == {
        event
        for event in Event.objects.all()
        if (since is None or event.received_at >= since) and (until is None or event.received_at < until)
    }


def test_a_bound_costs_one_query_and_excludes_rows_by_their_id(database: str) -> None:
    pks = store_at(database, *(NOON + timedelta(hours=hours) for hours in range(50)))
    with CaptureQueriesContext(connections[database]) as queries:
        rows = search.between(
            Event.objects.all(), "received_at", NOON + timedelta(hours=20), NOON + timedelta(hours=30)
        )
        assert sorted(event.pk for event in rows) == pks[20:30]
    assert len(queries) == 3
    conditions = queries.captured_queries[-1]["sql"]
    assert f'"id" >= {pks[19]}' in conditions
    assert f'"id" < {pks[31]}' in conditions


def test_a_related_time_is_found_by_the_ids_of_its_table(database: str) -> None:
    pks = store_at(database, NOON, NOON + timedelta(hours=9))
    for pk in pks:
        add_pending(pk)
    rows = search.between(
        PendingDelivery.objects.all(), "event__received_at", NOON + timedelta(hours=1), None
    )
    assert [pending.pk for pending in rows] == pks[1:]


@pytest.mark.parametrize(("year", "is_before"), [(1, True), (9999, False)])
def test_the_first_and_last_times_are_bounds(database: str, year: int, is_before: bool) -> None:
    edge = datetime(year, 1, 1, tzinfo=UTC)
    assert not search.between(Event.objects.all(), "received_at", edge, edge).exists()
    store_at(database, NOON)
    assert search.between(Event.objects.all(), "received_at", edge, None).exists() == is_before
    assert search.between(Event.objects.all(), "received_at", None, edge).exists() != is_before


def test_a_search_without_an_index_looks_at_the_newest_rows(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "NEWEST", 2)
    assert not search.newest_rows(Event.objects.all()).exists()
    pks = store_at(database, NOON, NOON, NOON)
    assert sorted(event.pk for event in search.newest_rows(Event.objects.all())) == pks[1:]
    monkeypatch.setattr(search, "MOST", 1)
    assert search.newest_ids(Event.objects.all()) == {pks[2]}
