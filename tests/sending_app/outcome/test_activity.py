"""Webhook activity is written once per account and bucket of time, and read as gaps."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from sending_app import outbox
from sending_app.models import WebhookActivity
from sending_app.outcome import activity

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def record(*arrivals: tuple[str, datetime]) -> None:
    with transaction.atomic(using=outbox.using()):
        activity.record(arrivals)


def rows() -> list[tuple[str, float]]:
    found = WebhookActivity.objects.order_by("account", "at")
    return [(row.account, (row.at - NOON).total_seconds()) for row in found]


# Written


def test_webhook_activity_is_recorded_once_per_interval(database: str) -> None:
    record(("a", at(0)), ("a", at(5.9)), ("b", at(3)), ("a", at(6)), ("", at(0)))
    assert rows() == [("a", 0), ("a", 6), ("b", 0)]
    with CaptureQueriesContext(connections[database]) as queries:
        record(("a", at(1)), ("b", at(5)))
    assert not any("INSERT" in query["sql"] for query in queries)
    record(("a", at(1)), ("b", at(6)))
    assert rows() == [("a", 0), ("a", 6), ("b", 0), ("b", 6)]


def test_webhook_activity_recorded_by_another_process_is_kept(database: str) -> None:
    record(("a", at(0)))
    activity.known_buckets.clear()
    record(("a", at(1)), ("a", at(6)))
    assert rows() == [("a", 0), ("a", 6)]


@pytest.mark.parametrize(("wait", "length"), [(1, 1), (20, 1), (199, 1), (600, 6), (7200, 72)])
def test_the_activity_interval_is_a_hundredth_of_the_unknown_wait(
    anymail: Callable[..., None], wait: int, length: int
) -> None:
    anymail(SEND_UNKNOWN_WAIT=wait)
    assert activity.bucket_length() == timedelta(seconds=length)


def test_webhook_activity_is_recorded_only_after_the_commit(database: str) -> None:
    with transaction.atomic(using=database):
        record(("a", at(0)))
        assert rows() == []
        transaction.set_rollback(True, using=database)
    assert rows() == []
    record(("a", at(0)))
    assert rows() == [("a", 0)]


def test_webhook_activity_that_cannot_be_written_is_written_next_time(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            raise OperationalError
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        record(("a", at(0)))
    assert caplog.messages == ["Could not record webhook activity (1 rows): OperationalError"]
    record(("a", at(1)))
    assert rows() == [("a", 0)]


def test_the_number_of_remembered_intervals_is_limited(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "MAX_REMEMBERED", 3)
    for number in range(50):
        record(("a", at(6 * number)))
        assert len(activity.known_buckets) <= 4
    assert len(rows()) == 50


def test_concurrent_records_of_the_same_intervals_do_not_block_each_other(database: str) -> None:
    together = Barrier(4)

    def write(_: int) -> None:
        together.wait()
        try:
            for number in range(20):
                activity.known_buckets.clear()
                record(*(("ab"[number % 2], at(6 * step)) for step in range(number, number + 20)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(rows()) == len(set(rows())) > 40


def test_remove_deletes_old_webhook_activity(database: str) -> None:
    record(("a", at(0)), ("a", at(60)))
    activity.remove_old_activity(at(60))
    assert rows() == [("a", 60)]


# Read


def silence(since: float, until: float, longest: float, account: str = "a") -> tuple[float, float] | None:
    found = activity.silence(account, at(since), at(until), timedelta(seconds=longest))
    return found and ((found[0] - NOON).total_seconds(), (found[1] - NOON).total_seconds())


def test_the_first_gap_in_webhook_activity_is_found(database: str) -> None:
    record(*(("a", at(second)) for second in (0, 60, 120, 300, 360, 600)), ("b", at(200)))
    assert silence(0, 150, longest=70) is None
    assert silence(0, 600, longest=70) == (126, 300)
    assert silence(130, 600, longest=70) == (130, 300)
    assert silence(310, 700, longest=300) is None
    assert silence(310, 700, longest=90) == (366, 600)
    assert silence(600, 700, longest=70) == (606, 700)
    assert silence(0, 100, longest=70, account="none") == (0, 100)


def test_an_event_in_the_first_interval_of_a_period_counts(database: str) -> None:
    record(("a", at(0)))
    assert silence(5, 100, longest=95) is None
    assert silence(7, 100, longest=90) == (7, 100)


BUCKET = 6

moments = st.lists(st.integers(0, 10_000).map(lambda tenths: tenths / 10), max_size=30)


@given(moments, st.integers(0, 500), st.integers(0, 500), st.integers(12, 300))
def test_no_gap_longer_than_allowed_is_missed(
    events: list[float], since: int, length: int, longest: int
) -> None:
    until = since + length
    buckets = sorted({int(second) // BUCKET * BUCKET for second in events})
    inside = [at(bucket) for bucket in buckets if since - BUCKET < bucket < until]
    found = activity.first_gap(
        inside, timedelta(seconds=BUCKET), at(since), at(until), timedelta(seconds=longest)
    )
    heard = sorted([since, *(second for second in events if since <= second <= until), until])
    if found is None:
        # Whichever moment of its bucket an event came at.
        assert all(after - before <= longest for before, after in pairwise(heard))
    else:
        began, ended = ((moment - NOON).total_seconds() for moment in found)
        assert since <= began <= ended <= until
        assert not [second for second in events if began < second < ended]
        assert ended - began > longest - 2 * BUCKET
