"""Stored events are counted for charts, each once."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import sql
from events_app.dispatch import event_counts, store
from events_app.dispatch.leases import Lease
from events_app.models import Event, HourlyCount, PendingDelivery, UnfoldedCounts
from events_app.normalize import normalize
from events_app.shared.database import database_now
from events_app.shared.hourly import OTHER, fold, hour_near, hour_of, read, record_counts, series, top
from tests.support.commands import output_of
from tests.support.events.stored_events import ENTRY_TIME, new_event, open_event, stream_entries
from tests.support.examples import examples
from tests.support.strategies import any_object

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = datetime.fromtimestamp(ENTRY_TIME / 1000, UTC)
HOUR = timedelta(hours=1)
EVER = (NOON - timedelta(days=400), NOON + timedelta(days=400))


def event(kind: str, number: int = 0, seconds: int = 0, **fields: Any) -> dict[str, Any]:
    timestamp = ENTRY_TIME // 1000 + seconds
    return open_event(f"{kind}-{number}", **{"event": kind, "timestamp": timestamp, **fields})


def stored_counts(database: str) -> Counter[tuple[str, int, str]]:
    return Counter(
        {
            (name, hour_of(at), label): number
            for name, declared in series.items()
            if declared.model is UnfoldedCounts
            for at, label, number in read(name, *EVER)
        }
    )


def test_events_are_counted_by_type_in_the_hours_of_their_timestamps(database: str) -> None:
    store.store(
        stream_entries(event("open"), event("open", 1, seconds=3599), event("click", seconds=-1)), Lease()
    )
    assert read("events", *EVER) == [(NOON - HOUR, "clicked", 1), (NOON, "opened", 2)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(
                st.none(),
                st.integers(-4000, 4000),
                st.sampled_from([-7 * 86400, 3600, 0]).flatmap(lambda edge: st.integers(edge - 2, edge + 2)),
            ),
        )
    )
)
@hypothesis_settings(max_examples=examples(200))
def test_each_event_counts_in_the_hour_near_its_arrival(times: list[tuple[int, int | None]]) -> None:
    arrivals = [NOON, NOON + timedelta(minutes=30), NOON + timedelta(hours=1)]
    events = [
        ("opened", None if seconds is None else arrivals[post] + timedelta(seconds=seconds), arrivals[post])
        for post, seconds in times
    ]
    counts = event_counts.count_events((*event, "ann@example.net", "") for event in events)
    expected = Counter(("events", hour_near(timestamp, arrival), kind) for kind, timestamp, arrival in events)
    assert counts == expected


def test_duplicates_are_not_counted(database: str) -> None:
    store.store(stream_entries(event("open"), event("open")), Lease())
    store.store(stream_entries(event("open"), event("click")), Lease())
    store.store(stream_entries(event("open")), Lease())
    assert top("events", *EVER) == [("clicked", 1), ("opened", 1)]
    assert UnfoldedCounts.objects.count() == 2


def test_unreadable_and_refused_events_are_counted_as_unknown(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = sql.insert_new_events

    def refuse(events: Any, using: str) -> dict[bytes, int]:
        if any(row.event_id == "open-13" for row in events):
            raise DataError("refused")
        return insert(events, using)

    monkeypatch.setattr(sql, "insert_new_events", refuse)
    events = [event("open", number) for number in range(20)]
    store.store(stream_entries(*events, b"no JSON"), Lease())
    assert top("events", *EVER) == [("opened", 19), ("unknown", 2)]
    assert stored_counts(database) == event_counts.count_stored(database)


def test_an_event_whose_transaction_rolls_back_is_not_counted(database: str) -> None:
    with transaction.atomic(using=database):
        store.store(stream_entries(event("open")), Lease())
        transaction.set_rollback(True, using=database)
    assert stored_counts(database) == Counter()


def test_domains_of_delivered_and_bounced_events_are_counted(database: str) -> None:
    store.store(
        stream_entries(
            event("delivered", 1, email="ann@example.net"),
            event("delivered", 2, email="BEN@Example.NET"),
            event("delivered", 3, email="Ann <ann@example.org>"),
            event("delivered", 4, email="nobody"),
            event("delivered", 5, email=None),
            event("delivered", 6, email='"a@b"@example.com'),
            event("bounce", email="ann@example.edu"),
            event("open", email="ann@example.com"),
        ),
        Lease(),
    )
    assert top("domains_delivered", *EVER) == [("example.net", 2), ("example.com", 1), (OTHER, 3)]
    assert top("domains_bounced", *EVER) == [("example.edu", 1)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bounce_classification": "Invalid Address", "status": "5.1.1"}, "bounced: invalid address"),
        ({"type": "blocked", "status": "5.7.1"}, "blocked: 5.7.1"),
        ({"reason": "550 5.1.1 no ann@example.net here"}, "bounced: 5.1.1"),
        ({"reason": "552 mailbox of ann@example.net is full"}, "bounced"),
        ({"reason": "refused from 203.0.4.5.1.9"}, "bounced"),
        ({"bounce_classification": "ann@example.net"}, "bounced"),
        ({"bounce_classification": "x" * 41}, "bounced"),
        ({"bounce_classification": ["5.1.1"], "status": {"5.1.1": 1}}, "bounced: 5.1.1"),
        ({"bounce_classification": "Content", "type": "blocked"}, "spam: content"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "dropped: spam"),
        ({"event": "dropped", "reason": "ann@example.net"}, "dropped: other"),
        ({"event": "deferred", "response": "450 4.2.2 full"}, ""),
        ({"event": "open", "status": "5.1.1"}, ""),
    ],
)
def test_the_reason_of_a_bounce_is_short_and_has_no_address(fields: dict[str, Any], reason: str) -> None:
    assert event_counts.reason_of(normalize(event("bounce", **fields))) == reason


@given(any_object, st.text(max_size=300))
@hypothesis_settings(max_examples=examples(200))
def test_no_reason_holds_an_address_whatever_is_posted(fields: dict[str, Any], answer: str) -> None:
    posted = {**fields, "event": "bounce", "reason": answer, "bounce_classification": answer}
    reason = event_counts.reason_of(normalize(posted))
    assert "@" not in reason
    assert len(reason) < 60


# Recount

_TYPES = ("processed", "delivered", "bounce", "dropped", "open", "no such event")
_posted = st.builds(
    event,
    st.sampled_from(_TYPES),
    st.integers(0, 5),
    st.integers(-9 * 86400, 2 * 3600),
    email=st.sampled_from(["ann@example.net", "ben@example.org", "nobody"]),
    status=st.sampled_from(["5.1.1", "5.7.1", ""]),
)


@given(st.lists(st.one_of(st.just("fold"), st.lists(_posted, max_size=8)), max_size=8))
@hypothesis_settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_equal_a_recount_whatever_comes_in_whichever_batches(database: str, steps: list[Any]) -> None:
    for model in (HourlyCount, UnfoldedCounts, PendingDelivery, Event):
        model._default_manager.all().delete()
    for step in steps:
        if step == "fold":
            fold(UnfoldedCounts, database)
        else:
            store.store(stream_entries(*step), Lease())
    expected = event_counts.count_stored(database)
    assert stored_counts(database) == expected
    assert event_counts.recount() == Event.objects.count()
    assert stored_counts(database) == expected


def test_a_recount_reads_all_slices(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_counts, "SLICE", 3)
    store.store(stream_entries(*(event("bounce", number) for number in range(7))), Lease())
    expected = stored_counts(database)
    HourlyCount.objects.all().delete()
    UnfoldedCounts.objects.all().delete()
    assert event_counts.recount() == 7
    assert stored_counts(database) == expected
    assert top("bounce_reasons", *EVER) == [("bounced", 7)]


def test_a_recount_mends_wrong_counts_and_keeps_hours_before_the_oldest_event(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    now = database_now(database)
    long_ago, recent = now - timedelta(days=40), now - timedelta(days=3)
    rows = [new_event(number, received_at=at, timestamp=at) for number, at in enumerate([long_ago, recent])]
    sql.insert_new_events(rows, database)
    for at in (long_ago, recent):
        record_counts(UnfoldedCounts, Counter({("events", hour_of(at), "opened"): 5}), database)
    assert "2 events" in output_of("events", "recount")
    assert [number for _, _, number in read("events", long_ago, now)] == [5, 1]


def test_a_recount_without_events_keeps_the_counts(database: str) -> None:
    record_counts(UnfoldedCounts, Counter({("events", hour_of(NOON), "opened"): 5}), database)
    assert "0 events" in output_of("events", "recount")
    assert top("events", *EVER) == [("opened", 5)]


def test_raw_bodies_of_bounces_alone_are_read_for_a_recount(database: str) -> None:
    store.store(stream_entries(event("bounce"), event("open")), Lease())
    Event.objects.filter(event_type="bounced").update(raw=json.dumps(event("open")).encode())
    Event.objects.filter(event_type="opened").update(raw=b"no JSON")
    counts = event_counts.count_stored(database)
    assert {name for name, _, _ in counts} == {"events", "domains_bounced"}
