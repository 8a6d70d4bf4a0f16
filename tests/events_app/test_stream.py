"""The stream keeps what it took until it is stored, whatever happens to its readers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import RedisError

from events_app import stream
from events_app.shared import redis
from events_app.stream import MOST_EVENTS, AppendFailed, Entry
from tests.support.examples import examples

#: Long enough that no entry has been idle for it, and one that every entry has been.
LEASE, NONE = 3_600_000, 0


def append(*events: bytes) -> bool:
    return stream.append("tracking", events)


def append_each(*events: bytes) -> None:
    """An entry for each."""
    for event in events:
        append(event)


def raws(entries: list[Entry]) -> list[bytes]:
    return [raw for entry in entries for raw in entry.events]


def fresh(count: int = 100) -> list[Entry]:
    return stream.read_entries(count, LEASE).entries


# append


def test_appended_events_are_read_in_order_with_their_webhook_view() -> None:
    append(b'{"a": 1}', b"\xff\x00 no text", b"")
    append(b"[]")
    assert [(entry.webhook, entry.events) for entry in fresh()] == [
        ("tracking", [b'{"a": 1}', b"\xff\x00 no text", b""]),
        ("tracking", [b"[]"]),
    ]


def test_a_large_post_is_split_into_several_entries() -> None:
    events = [b"%d" % number for number in range(MOST_EVENTS * 2 + 1)]
    append(*events)
    entries = fresh(1000)
    assert [len(entry.events) for entry in entries] == [MOST_EVENTS, MOST_EVENTS, 1]
    assert raws(entries) == events


def test_append_asks_for_one_wake_up_until_a_worker_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "WAKE_UP_LIFETIME", 3_600_000)
    assert append(b"1")
    assert not append(b"2")
    fresh()
    assert append(b"3")


def test_the_wake_up_flag_expires() -> None:
    append(b"1")
    assert 0 < redis.for_workers().pttl(redis.key("wakeup")) <= redis.WAKE_UP_LIFETIME


def test_an_entry_has_the_time_it_was_received() -> None:
    before, _ = redis.for_workers().time()
    append(b"1")
    (entry,) = fresh()
    after, _ = redis.for_workers().time()
    assert before <= entry.received_at.timestamp() < after + 1
    assert entry.received_at.tzinfo is UTC


def test_an_entry_id_beyond_all_dates_has_a_received_time() -> None:
    entry = Entry(b"18446744073709551615-0", "tracking", [b"{}"])
    assert entry.received_at <= datetime.now(UTC)


def test_append_over_the_backlog_limit_is_refused_whole(anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=3)
    append(b"1", b"2")
    with pytest.raises(AppendFailed, match="limit of 3"):
        append(b"3", b"4")
    assert stream.backlog() == 2
    append(b"3")
    assert stream.backlog() == 3


def test_done_entries_make_room_in_the_backlog(anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=1)
    append(b"1")
    entries = fresh()
    with pytest.raises(AppendFailed):
        append(b"2")
    stream.delete_entries(entries)
    append(b"2")


def test_done_is_idempotent_for_the_backlog(anymail: Callable[..., None]) -> None:
    append(b"1", b"2")
    first = fresh()
    append(b"3", b"4", b"5")
    stream.delete_entries(first)
    stream.delete_entries(first)
    assert stream.backlog() == 3
    anymail(EVENT_BACKLOG_LIMIT=4)
    with pytest.raises(AppendFailed):
        append(b"6", b"7")


def test_trimming_the_stream_by_hand_empties_the_backlog(anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=3)
    append(b"1", b"2", b"3")
    redis.for_workers().xtrim(redis.key(), maxlen=0)
    assert stream.backlog() == 0
    append(b"4", b"5")
    assert stream.backlog() == 2


def test_uncounted_entries_count_towards_the_backlog(anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=3)
    for _ in range(3):
        redis.for_workers().xadd(redis.key(), {"r": b"{}"})
    assert stream.backlog() == 3
    with pytest.raises(AppendFailed):
        append(b"1")
    stream.delete_entries(fresh())
    append(b"1", b"2", b"3")


def test_a_full_backlog_does_not_pause_redis(anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=1)
    with pytest.raises(AppendFailed):
        append(b"1", b"2")
    assert not redis.is_circuit_open()


def test_with_redis_away_append_is_refused_and_redis_is_paused(
    anymail: Callable[..., None],
) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(AppendFailed, match="Redis: ConnectionError"):
        append(b"1")
    with pytest.raises(AppendFailed, match="failed a moment ago"):
        append(b"1")


def test_append_to_a_key_of_another_type_is_refused() -> None:
    redis.for_workers().set(redis.key(), "a text")
    with pytest.raises(AppendFailed):
        append(b"1")


# read, done, give back


def test_each_entry_is_read_once() -> None:
    append(*(b"%d" % number for number in range(MOST_EVENTS + 1)))
    assert len(raws(fresh(2))) == MOST_EVENTS
    assert len(raws(fresh(2))) == 1
    assert fresh(2) == []


def test_a_read_takes_few_more_events_than_its_limit() -> None:
    append_each(*(b"%d" % number for number in range(250)))
    assert [len(raws(fresh(200))), len(raws(fresh(200)))] == [200, 50]
    append(*(b"%d" % number for number in range(MOST_EVENTS * 20)))
    assert 180 <= len(raws(fresh(180))) < 180 + MOST_EVENTS


def test_a_read_at_the_end_of_small_entries_takes_less_than_an_entry_too_many() -> None:
    append_each(*(b"%d" % number for number in range(50)))
    for _ in range(10):
        append(*(b"%d" % number for number in range(MOST_EVENTS * 10)))
    assert 1000 <= len(raws(fresh(1000))) < 1000 + MOST_EVENTS


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    posts=st.lists(st.integers(1, 2 * MOST_EVENTS), max_size=20),
    expired=st.integers(0, 1000),
    count=st.integers(1, 1000),
)
def test_a_read_takes_whole_entries_in_order_up_to_its_limit(
    posts: list[int], expired: int, count: int
) -> None:
    redis.for_workers().delete(redis.key())
    for post, size in enumerate(posts):
        append(*(b"%d %d" % (post, number) for number in range(size)))
    stream.release_entries(fresh(expired), LEASE)
    waiting: Any = redis.for_workers().xrange(redis.key())
    entries, more = stream.read_entries(count, LEASE)
    assert entries == [stream.unpack(*entry) for entry in waiting[: len(entries)]]
    number = stream.events_in(entries)
    assert number < count + MOST_EVENTS
    assert more is (len(entries) < len(waiting))
    assert not more or number >= count


def test_entries_read_but_not_stored_are_read_again() -> None:
    append(b"1", b"2")
    assert fresh(2) == stream.read_entries(2, NONE).entries


def test_expired_entries_are_read_together_with_fresh_ones() -> None:
    append(b"1", b"2")
    stream.release_entries(fresh(), LEASE)
    append(b"3")
    assert sorted(raws(fresh())) == [b"1", b"2", b"3"]


def test_expired_entries_are_read_before_fresh_ones() -> None:
    append_each(b"1", b"2", b"3")
    stream.release_entries(fresh(), LEASE)
    append_each(b"4", b"5", b"6")
    assert raws(fresh(2)) == [b"1", b"2"]
    assert raws(fresh(2)) == [b"3", b"4"]
    assert raws(fresh(3)) == [b"5", b"6"]


def test_a_read_says_whether_more_entries_are_left() -> None:
    append_each(*(b"%d" % number for number in range(100)))
    assert stream.read_entries(70, LEASE).more
    assert not stream.read_entries(70, LEASE).more
    append_each(*(b"%d" % number for number in range(10)))
    assert not stream.read_entries(10, LEASE).more
    assert stream.read_entries(0, LEASE) == ([], True)


def test_a_worker_that_reads_on_leaves_expired_entries_and_the_wake_up() -> None:
    append_each(b"1", b"2")
    stream.release_entries(fresh(1), LEASE)
    assert append(b"3")
    assert raws(stream.read_on(100).entries) == [b"2", b"3"]
    assert not append(b"4")
    assert raws(fresh()) == [b"1", b"4"]
    assert append(b"5")


def test_a_wake_up_is_needed_when_none_is_on_its_way(anymail: Callable[..., None]) -> None:
    append(b"1")
    assert not stream.needs_wake_up()
    fresh()
    assert [stream.needs_wake_up(), stream.needs_wake_up()] == [True, False]
    assert 0 < redis.for_workers().pttl(redis.key("wakeup")) <= redis.WAKE_UP_LIFETIME
    assert not append(b"2")
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert stream.needs_wake_up()


@pytest.mark.parametrize("count", [100, 1000])
def test_a_read_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(stream, "MOST_BYTES", 32_000)
    append_each(*(b"x" * 1000 for _ in range(100)))
    entries, more = stream.read_entries(count, LEASE)
    assert (len(entries), more) == (32, True)
    assert stream.read_entries(100, LEASE).more


def test_done_entries_are_deleted() -> None:
    append(b"1", b"2")
    stream.delete_entries(fresh())
    assert stream.backlog() == 0
    assert stream.read_entries(100, NONE).entries == []
    assert redis.for_workers().xpending(redis.key(), stream.GROUP)["pending"] == 0


def test_entries_given_back_are_read_at_once() -> None:
    append_each(b"1", b"2")
    one, other = fresh()
    stream.release_entries([other], LEASE)
    assert raws(fresh()) == [b"2"]
    assert fresh() == []
    stream.delete_entries([one, other])
    assert stream.backlog() == 0


def test_giving_back_entries_stored_by_another_worker_restores_nothing() -> None:
    append(b"1")
    entries = fresh()
    stream.delete_entries(entries)
    stream.release_entries(entries, LEASE)
    assert fresh() == []
    assert not stream.anything_to_read(LEASE)


def test_an_entry_deleted_while_pending_is_skipped() -> None:
    append_each(b"1", b"2")
    entries = fresh()
    redis.for_workers().xdel(redis.key(), entries[0].id)
    stream.release_entries(entries, LEASE)
    assert raws(fresh()) == [b"2"]


def test_done_and_give_back_without_entries_need_no_redis(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    stream.delete_entries([])
    stream.release_entries([], LEASE)


def test_reading_with_redis_away_raises(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(RedisError):
        fresh()


def test_reading_a_key_of_another_type_raises() -> None:
    redis.for_workers().set(redis.key(), "a text")
    with pytest.raises(RedisError, match="WRONGTYPE"):
        fresh()


def test_a_lost_consumer_group_is_recreated_without_losing_events() -> None:
    append(b"1", b"2")
    fresh()
    redis.for_workers().xgroup_destroy(redis.key(), stream.GROUP)
    append(b"3")
    assert raws(fresh()) == [b"1", b"2", b"3"]


def test_a_lost_stream_is_recreated() -> None:
    append(b"1")
    fresh()
    redis.for_workers().delete(redis.key())
    assert fresh() == []
    append(b"2")
    assert raws(fresh()) == [b"2"]


def test_a_consumer_group_created_by_another_worker_meanwhile_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = redis.for_workers()
    create = client.xgroup_create

    def after_another_worker(*args: Any, **options: Any) -> object:
        create(*args, **options)
        return create(*args, **options)

    append(b"1")
    monkeypatch.setattr(client, "xgroup_create", after_another_worker)
    assert raws(fresh()) == [b"1"]


def test_foreign_entries_do_not_stop_a_read() -> None:
    append(b"1")
    aliens: list[dict[Any, Any]] = [{"other": 1}, {"d": b"\xff", "r": b"2"}, {"d": "tracking"}, {"r": b"3"}]
    for fields in aliens:
        redis.for_workers().xadd(redis.key(), fields)
    append(b"4")
    assert [(entry.webhook, entry.events) for entry in fresh()] == [
        ("tracking", [b"1"]),
        ("", [b""]),
        ("\ufffd", [b"2"]),
        ("tracking", [b""]),
        ("", [b"3"]),
        ("tracking", [b"4"]),
    ]


# anything to read, hold


def test_anything_to_read_is_true_for_unread_and_expired_entries() -> None:
    states = [("no stream", stream.anything_to_read(LEASE))]
    append_each(b"1", b"2")
    states.append(("no group", stream.anything_to_read(LEASE)))
    fresh(1)
    states.append(("one unread", stream.anything_to_read(LEASE)))
    entries = fresh(1)
    states.append(("all in hand", stream.anything_to_read(LEASE)))
    stream.release_entries(entries, LEASE)
    states.append(("one given back", stream.anything_to_read(LEASE)))
    stream.delete_entries(fresh())
    states.append(("one in hand", stream.anything_to_read(LEASE)))
    states.append(("one expired", stream.anything_to_read(NONE)))
    stream.delete_entries(stream.read_entries(100, NONE).entries)
    states.append(("all stored", stream.anything_to_read(NONE)))
    assert dict(states) == {
        "no stream": False,
        "no group": True,
        "one unread": True,
        "all in hand": False,
        "one given back": True,
        "one in hand": False,
        "one expired": True,
        "all stored": False,
    }


def test_an_empty_stream_without_a_consumer_group_has_nothing_to_read() -> None:
    append(b"1")
    stream.delete_entries(fresh())
    redis.for_workers().xgroup_destroy(redis.key(), stream.GROUP)
    assert not stream.anything_to_read(NONE)


def test_another_consumer_group_is_ignored() -> None:
    append(b"1")
    redis.for_workers().xgroup_create(redis.key(), "another", id="$")
    assert stream.anything_to_read(LEASE)


def test_a_lock_has_one_holder_until_it_is_released_or_expires() -> None:
    assert redis.take_lock("tick", 60_000)
    assert not redis.take_lock("tick", 60_000)
    assert 0 < redis.for_workers().pttl(redis.key("tick")) <= 60_000
    redis.release_lock("tick")
    assert redis.take_lock("tick", 60_000)


# The entry that has waited longest


def test_oldest_returns_the_received_time_of_the_oldest_event() -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    now, received_at = stream.oldest()
    assert received_at is None
    assert before < now < datetime.now(UTC) + timedelta(seconds=1)
    stream.append("tracking", [b"1"])
    now, received_at = stream.oldest()
    assert received_at is not None
    assert before < received_at <= now
    stream.append("tracking", [b"2"])
    assert stream.oldest().received_at == received_at


def test_oldest_includes_events_read_but_not_stored() -> None:
    stream.append("tracking", [b"1"])
    entries = stream.read_entries(10, idle=60_000).entries
    assert stream.oldest().received_at == entries[0].received_at
    stream.delete_entries(entries)
    assert stream.oldest().received_at is None


def test_oldest_accepts_an_entry_later_than_the_redis_clock() -> None:
    redis.for_workers().xadd(redis.key(), {"d": "tracking", "r": b"1"}, id=f"{2**42}-0")
    now, received_at = stream.oldest()
    assert received_at is not None
    assert received_at > now
