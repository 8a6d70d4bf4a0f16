"""Hourly counts: exact, whatever the batches, and however often they are folded."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.models import HourlyCount, UnfoldedCounts
from events_app.shared import hourly
from events_app.shared.database import lock_writes
from events_app.shared.hourly import (
    OTHER,
    Counts,
    fold,
    hour_near,
    hour_of,
    read,
    record_counts,
    replace,
    top,
)
from tests.support.databases import on_postgresql, terminate_connection
from tests.support.examples import examples

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

START = datetime(2026, 7, 14, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST = hour_of(START)
EVER = (START - timedelta(days=30), START + timedelta(days=30))


def counts(*labels: str, hour: int = 0, name: str = "events") -> Counts:
    """One of each label."""
    return Counter((name, FIRST + hour, label) for label in labels)


def fold_all(database: str) -> None:
    while not fold(UnfoldedCounts, database):
        pass


@contextmanager
def other_fold(database: str) -> Iterator[None]:
    """Another process is folding."""
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {HourlyCount._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")
        yield
        cursor.execute("ROLLBACK")


# Read


def test_counts_are_read_alike_before_and_after_they_are_folded(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened", "opened", "clicked"), database)
    record_counts(UnfoldedCounts, counts("opened") + counts("opened", hour=1), database)
    expected = [(START, "clicked", 1), (START, "opened", 3), (START + HOUR, "opened", 1)]
    assert read("events", *EVER) == expected
    assert fold(UnfoldedCounts, database)
    assert (HourlyCount.objects.count(), UnfoldedCounts.objects.count()) == (3, 0)
    assert read("events", *EVER) == expected
    record_counts(UnfoldedCounts, counts("opened"), database)
    expected[1] = (START, "opened", 4)
    assert read("events", *EVER) == expected
    fold(UnfoldedCounts, database)
    assert read("events", *EVER) == expected


def test_a_day_has_the_sum_of_its_hours_in_utc(database: str) -> None:
    record_counts(
        UnfoldedCounts, counts("opened") + counts("opened", hour=1) + counts("opened", hour=2), database
    )
    midnight = START.replace(hour=0)
    expected = [(midnight, "opened", 2), (midnight + timedelta(days=1), "opened", 1)]
    assert read("events", *EVER, "day") == expected
    fold(UnfoldedCounts, database)
    assert read("events", *EVER, "day") == expected


@pytest.mark.parametrize("folded", [False, True])
def test_a_range_begins_with_the_hour_of_its_start_and_excludes_its_end(database: str, folded: bool) -> None:
    for hour in range(4):
        record_counts(UnfoldedCounts, counts("opened", hour=hour), database)
    if folded:
        fold(UnfoldedCounts, database)
    hours = [at for at, _, _ in read("events", START + 1.5 * HOUR, START + 3 * HOUR)]
    assert hours == [START + HOUR, START + 2 * HOUR]
    assert top("events", START + 3 * HOUR, START + 4 * HOUR) == [("opened", 1)]


def test_a_series_has_no_counts_of_another_one(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened") + counts("example.net", name="domains_bounced"), database)
    assert read("domains_bounced", *EVER) == [(START, "example.net", 1)]
    fold(UnfoldedCounts, database)
    assert read("domains_bounced", *EVER) == [(START, "example.net", 1)]
    assert read("bounce_reasons", *EVER) == []


def test_the_top_labels_come_by_count_with_all_others_at_the_end(database: str) -> None:
    for labels in ("a", "bb", "ccc"):
        record_counts(UnfoldedCounts, counts(*labels, OTHER), database)
    expected = [("c", 3), ("b", 2), (OTHER, 4)]
    assert top("events", *EVER, most=2) == expected
    fold(UnfoldedCounts, database)
    assert top("events", *EVER, most=2) == expected
    assert top("bounce_reasons", *EVER) == []


def test_a_series_is_read_with_one_query_of_a_bounded_number_of_rows(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened"), database)
    fold(UnfoldedCounts, database)
    record_counts(UnfoldedCounts, counts("opened"), database)
    with CaptureQueriesContext(connections[database]) as queries:
        read("events", *EVER)
        top("events", *EVER)
    assert len(queries) == 2


@on_postgresql
def test_a_read_uses_the_index_of_the_series_and_the_hour(database: str) -> None:
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        rows = HourlyCount.objects.filter(name="events", hour__gte=START, hour__lt=START + HOUR)
        assert "Index Cond: (((name)::text = 'events'::text) AND (hour" in rows.explain()


def test_two_series_of_one_name_are_refused() -> None:
    same = hourly.series["events"]
    assert hourly.declare_series(same.name, same.meaning, same.model) == same
    with pytest.raises(ValueError, match="Two series have the name events"):
        hourly.declare_series("events", "Something else", UnfoldedCounts)


# The hour


@pytest.mark.parametrize(
    ("seconds", "own"),
    [(0, True), (-7 * 86400, True), (3600, True), (-7 * 86400 - 1, False), (3601, False)],
)
def test_a_time_far_from_its_arrival_counts_in_the_hour_of_the_arrival(seconds: int, own: bool) -> None:
    at = START + timedelta(seconds=seconds)
    assert hour_near(at, START) == hour_of(at if own else START)


def test_a_thing_without_a_time_counts_in_the_hour_of_its_arrival() -> None:
    assert hour_near(None, START) == FIRST


# Labels


def test_small_labels_count_together_and_the_sum_is_exact(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly, "MOST_LABELS", 2)
    record_counts(UnfoldedCounts, counts("a", "b", "b", "c", "c", "c", "d"), database)
    assert read("events", *EVER) == [(START, OTHER, 2), (START, "b", 2), (START, "c", 3)]
    fold(UnfoldedCounts, database)
    record_counts(UnfoldedCounts, counts("d", "d", "d", "d"), database)
    fold(UnfoldedCounts, database)
    assert read("events", *EVER) == [(START, OTHER, 4), (START, "c", 3), (START, "d", 4)]


def test_labels_that_a_database_refuses_are_cleaned_and_cut(database: str) -> None:
    record_counts(UnfoldedCounts, counts("nul\0", "nul", "\ud800", "x" * 101, "x" * 100), database)
    fold(UnfoldedCounts, database)
    assert dict(top("events", *EVER)) == {"nul": 2, "\ufffd": 1, "x" * 100: 2}


# Fold


@given(
    st.lists(
        st.one_of(
            st.just("fold"),
            st.dictionaries(
                st.tuples(
                    st.sampled_from(["events", "bounce_reasons"]),
                    st.integers(0, 30).map(lambda hour: FIRST + hour),
                    st.sampled_from(["a", "b", OTHER]),
                ),
                st.integers(1, 9),
            ).map(Counter),
        ),
        max_size=12,
    )
)
@hypothesis_settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_the_sum_of_all_batches_whenever_they_are_folded(
    database: str, steps: "list[str | Counts]"
) -> None:
    HourlyCount.objects.all().delete()
    UnfoldedCounts.objects.all().delete()
    expected: Counts = Counter()
    for step in steps:
        if isinstance(step, Counter):
            record_counts(UnfoldedCounts, step, database)
            expected += step
        else:
            fold(UnfoldedCounts, database)
    found = {
        (name, hour_of(at), label): number
        for name in ("events", "bounce_reasons")
        for at, label, number in read(name, *EVER)
    }
    assert found == dict(expected)


def test_a_fold_takes_a_bounded_number_of_rows(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "FOLDED_AT_ONCE", 2)
    for _ in range(3):
        record_counts(UnfoldedCounts, counts("opened"), database)
    assert not fold(UnfoldedCounts, database)
    assert UnfoldedCounts.objects.count() == 1
    assert fold(UnfoldedCounts, database)
    assert read("events", *EVER) == [(START, "opened", 3)]


def test_batches_without_counts_leave_no_row(database: str) -> None:
    record_counts(UnfoldedCounts, Counter(), database)
    assert not UnfoldedCounts.objects.exists()
    assert fold(UnfoldedCounts, database)


def test_a_batch_that_is_rolled_back_counts_nothing(database: str) -> None:
    with transaction.atomic(using=database):
        record_counts(UnfoldedCounts, counts("opened"), database)
        transaction.set_rollback(True, using=database)
    assert read("events", *EVER) == []


def test_many_folds_and_batches_at_once_count_everything_once(database: str) -> None:
    def work(number: int) -> None:
        try:
            for _ in range(10):
                with transaction.atomic(using=database):
                    record_counts(UnfoldedCounts, counts("a", "b", hour=number % 2), database)
                with suppress(OperationalError):  # another thread is folding
                    fold(UnfoldedCounts, database)
        finally:
            connections[database].close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert top("events", *EVER) == [("a", 60), ("b", 60)]
    fold_all(database)
    assert top("events", *EVER) == [("a", 60), ("b", 60)]
    assert HourlyCount.objects.count() == 4


@on_postgresql
def test_a_fold_does_not_wait_for_another_fold(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened"), database)
    with other_fold(database):
        with pytest.raises(OperationalError, match="could not obtain lock"):
            fold(UnfoldedCounts, database)
        record_counts(UnfoldedCounts, counts("opened"), database)  # a batch waits for no fold
        assert read("events", *EVER) == [(START, "opened", 2)]
    assert fold(UnfoldedCounts, database)
    assert read("events", *EVER) == [(START, "opened", 2)]


@on_postgresql
def test_a_fold_whose_connection_breaks_changes_nothing(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened"), database)

    def break_off() -> None:
        with transaction.atomic(using=database):
            lock_writes(HourlyCount, database)
            assert hourly.fold_locked(UnfoldedCounts, database)
            terminate_connection(database)

    with pytest.raises(OperationalError):
        break_off()
    connections[database].close()
    assert (HourlyCount.objects.count(), UnfoldedCounts.objects.count()) == (0, 1)
    assert fold(UnfoldedCounts, database)
    assert read("events", *EVER) == [(START, "opened", 1)]


# Replace


def test_replaced_counts_are_exact_and_an_earlier_hour_keeps_the_larger_ones(database: str) -> None:
    for hour in range(3):
        record_counts(UnfoldedCounts, counts("a", "a", "b", hour=hour), database)
    record_counts(UnfoldedCounts, counts("kept", name="bounce_reasons"), database)
    fold(UnfoldedCounts, database)
    new = counts("a") + counts(*"aaabb", hour=1) + counts("a", hour=2)
    with transaction.atomic(using=database):
        lock_writes(HourlyCount, database)
        replace(UnfoldedCounts, ["events"], FIRST + 2, new, database)
    assert read("events", *EVER) == [
        (START, "a", 2),
        (START, "b", 1),
        (START + HOUR, "a", 3),
        (START + HOUR, "b", 2),
        (START + 2 * HOUR, "a", 1),
    ]
    assert read("bounce_reasons", *EVER) == [(START, "kept", 1)]


def test_recorded_counts_are_plain_json(database: str) -> None:
    record_counts(UnfoldedCounts, counts("opened"), database)
    assert json.dumps(UnfoldedCounts.objects.get().counts) == f'{{"events": [[{FIRST}, "opened", 1]]}}'
