"""What SendGrid's ids are worth is counted: events equal but for the id, and an id of different events."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from events_app.dispatch import duplicates, store
from events_app.dispatch.leases import Lease
from events_app.models import Event
from events_app.shared import counters, eager, redis
from tests.support.databases import database_away
from tests.support.events.stored_events import open_event, stream_entries

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = 1_784_030_400


def delivered(event_id: str, second: int = 0, **fields: Any) -> dict[str, Any]:
    return open_event(event_id, **{"event": "delivered", "timestamp": NOON + second, **fields})


def stored(*events: Any) -> store.Stored:
    return store.store(stream_entries(*events), Lease())


def counted() -> dict[str, int]:
    """The counters, without the duplicates that were counted before."""
    return {name: number for name, number in counters.read_counters().items() if name != "events_duplicate"}


# An event with another id


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
def test_an_event_that_differs_only_in_its_id_is_stored_and_counted(together: bool, database: str) -> None:
    if together:
        stored(delivered("A1"), delivered("B2"), delivered("C3", response="250 OK"))
    else:
        stored(delivered("A1"), delivered("C3", response="250 OK"))
        stored(delivered("B2"))
    assert Event.objects.count() == 3
    assert counted() == {"events_id_changed": 1}
    stored(delivered("D4"), delivered("D5"))
    assert counted() == {"events_id_changed": 3}


def test_opens_and_clicks_are_counted_on_their_own(database: str) -> None:
    stored(delivered("A1", event="open"), delivered("A2", event="open"))
    stored(delivered("B1", event="click"), delivered("B2", event="click"))
    assert counted() == {"events_id_changed_opened": 2}


def test_a_true_duplicate_is_not_counted_as_an_event_with_another_id(database: str) -> None:
    stored(delivered("A1"), delivered("A1"))
    stored(delivered("A1"))
    assert counters.read_counters() == {"events_duplicate": 2}


def test_an_event_without_an_id_or_a_time_is_not_counted(database: str) -> None:
    stored(delivered(""), open_event("A1"), open_event("B2"), b"[]", b"{")
    stored(delivered("A2"))
    assert counted() == {"dead_letters unreadable": 2}


def test_dedupe_by_content_counts_nothing(database: str, anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="content")
    stored(delivered("A1"), delivered("B2"), delivered("A1", event="bounce"))
    assert Event.objects.count() == 2
    assert counters.read_counters() == {"events_duplicate": 1}
    assert not contents()


def contents() -> int:
    return sum(redis.for_workers().zcard(key) for key in redis.for_workers().scan_iter(pattern()))


def pattern() -> str:
    return redis.key("contents:*").replace("{", r"\{").replace("[", r"\[")


def test_a_large_batch_is_sampled_alike_each_time(database: str) -> None:
    stored(*(delivered(f"A{n}", n) for n in range(400)))
    assert contents() == duplicates.SAMPLE
    stored(*(delivered(f"B{n}", n) for n in reversed(range(400))))
    assert counted() == {"events_id_changed": duplicates.SAMPLE}
    assert contents() == duplicates.SAMPLE


def test_the_contents_in_redis_are_bounded_and_expire(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_CONTENTS", 20)
    for batch in range(3):
        stored(*(delivered(f"A{n}", n) for n in range(batch * 40, batch * 40 + 40)))
        assert contents() == 20
    (key,) = redis.for_workers().scan_iter(pattern())
    assert duplicates.PERIOD < redis.for_workers().ttl(key) <= 2 * duplicates.PERIOD
    # The smallest draws of all batches stay, so an event is found again after any number of others.
    stored(*(delivered(f"B{n}", n) for n in range(120)))
    assert counted() == {"events_id_changed": 20}


def test_contents_of_the_period_before_are_found_and_older_ones_not(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    stored(delivered("A1"), delivered("B1", 1))
    monkeypatch.setattr(duplicates, "time", SimpleNamespace(time=lambda: now + duplicates.PERIOD))
    stored(delivered("A2"))
    assert counted() == {"events_id_changed": 1}
    monkeypatch.setattr(duplicates, "time", SimpleNamespace(time=lambda: now + 2 * duplicates.PERIOD))
    stored(delivered("B2", 1))
    assert counted() == {"events_id_changed": 1}


# An id of different events


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
def test_a_different_event_with_a_known_id_is_counted(together: bool, database: str) -> None:
    first, second = delivered("A1"), delivered("A1", event="bounce")
    if together:
        stored(first, second)
    else:
        stored(first)
        stored(second)
    assert Event.objects.get().event_type == "delivered"
    assert counters.read_counters() == {"events_duplicate": 1, "events_id_reused": 1}


def test_dedupe_by_content_keeps_different_events_with_one_id(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(DEDUPE_BY="content")
    stored(delivered("A1"), delivered("A1", event="bounce"))
    assert Event.objects.count() == 2


def test_another_order_of_names_and_other_white_space_are_no_difference(database: str) -> None:
    stored(b'{"sg_event_id": "A1", "event": "open"}')
    stored(b'{"event":"open","sg_event_id":"A1"}', b'{ "event": "open", "sg_event_id": "A1" }')
    assert counters.read_counters() == {"events_duplicate": 2}


def test_few_duplicates_of_a_batch_are_compared(database: str) -> None:
    events = [delivered(f"A{n}", n) for n in range(60)]
    stored(*events)
    stored(*({**event, "event": "bounce"} for event in events))
    assert counters.read_counters() == {"events_duplicate": 60, "events_id_reused": duplicates.MOST_COMPARED}


# Best effort


def test_without_redis_events_are_stored(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert len(stored(delivered("A1"), delivered("B2"), delivered("A1", event="bounce")).deliveries) == 2
    assert redis.is_circuit_open()


def test_without_the_database_nothing_is_compared(database: str) -> None:
    stored(delivered("A1"))
    (arrival,) = store._arrivals(stream_entries(delivered("A1", event="bounce")))
    with database_away(database):
        duplicates.notice_reused_ids([arrival.row], database)
    assert counters.read_counters() == {}
    duplicates.notice_reused_ids([arrival.row], database)
    assert counters.read_counters() == {"events_id_reused": 1}


def test_in_a_projects_tests_nothing_goes_to_redis(
    database: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(EAGER_IN_TESTS=True)
    assert eager.is_eager()
    for client in ("for_webhooks", "for_workers"):
        monkeypatch.setattr(redis, client, lambda: pytest.fail("asked Redis"))
    arrivals = list(store._arrivals(stream_entries(delivered("A1"), delivered("B2"))))
    duplicates.notice_changed_ids([arrival.event for arrival in arrivals if arrival.event])
    duplicates.notice_reused_ids([arrival.row for arrival in arrivals], database)
