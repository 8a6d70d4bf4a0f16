"""Each entry is stored as an event once. An event refused by the database becomes a dead letter alone."""

import itertools
import json
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from unittest import mock

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connections
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import normalize as tables
from events_app import signals, stream
from events_app.dispatch import dispatcher, leases, results, store
from events_app.dispatch.leases import Lease
from events_app.models import Event, PendingDelivery
from events_app.normalize import normalize
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable, database_now
from events_app.signals import EventType, ReceiverSignal, TrackingEvent
from events_app.stream import Entry
from fake_sendgrid.events import generate_events
from tests.support.databases import Router, database_away, on_postgresql, terminate_connection
from tests.support.events.leases import dead_letters, leased_ids
from tests.support.events.stored_events import ENTRY_TIME, open_event, stream_entries
from tests.support.examples import examples
from tests.support.strategies import any_object

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def stored_ids() -> list[str]:
    return sorted(Event.objects.values_list("event_id", flat=True))


# store


def test_a_new_event_is_stored_and_pending_under_the_lease(database: str) -> None:
    lease = Lease()
    before = database_now(database)
    stored = store.store(
        stream_entries(
            open_event("A1", timestamp=1784000000, anymail_id="our-id", email="Mira.Okafor@Example.NET")
        ),
        lease,
    )
    event = Event.objects.get()
    assert (event.event_type, event.event_id, event.message_id) == ("opened", "A1", "our-id")
    assert (event.recipient, event.webhook) == ("mira.okafor@example.net", "tracking")
    assert event.timestamp is not None
    assert event.timestamp.timestamp() == 1784000000
    assert event.received_at.timestamp() == ENTRY_TIME / 1000
    assert json.loads(bytes(event.raw))["email"] == "Mira.Okafor@Example.NET"
    work = event.pending
    assert (work.lease, work.state, work.receivers) == (lease.token, "pending", {})
    assert (work.failures, work.worker_deaths, work.replay) == (0, 0, False)
    assert before + leases.lease_duration() <= work.due <= database_now(database) + leases.lease_duration()
    (delivery,) = stored.deliveries
    assert (delivery.pk, delivery.webhook, delivery.row.raw) == (event.pk, "tracking", bytes(event.raw))
    assert delivery.event is not None
    assert delivery.event.recipient == "Mira.Okafor@Example.NET"
    assert (stored.dead_letters, stored.duplicates) == (0, 0)


def test_a_batch_is_stored_in_its_order(database: str) -> None:
    events = generate_events(300)
    stored = store.store(stream_entries(*events), Lease())
    assert leased_ids(stored.deliveries) == [event["sg_event_id"] for event in events]
    assert Event.objects.count() == PendingDelivery.objects.count() == 300


def test_a_duplicate_in_one_batch_is_stored_once(database: str) -> None:
    stored = store.store(
        stream_entries(open_event("A1"), open_event("B2"), open_event("A1", useragent="later")), Lease()
    )
    assert (len(stored.deliveries), stored.duplicates) == (2, 1)
    assert stored_ids() == ["A1", "B2"]
    assert counters.read_counters() == {"events_duplicate": 1, "events_id_reused": 1}


def test_a_duplicate_of_an_earlier_batch_creates_no_pending_work(database: str) -> None:
    first = Lease()
    store.store(stream_entries(open_event("A1")), first)
    stored = store.store(stream_entries(open_event("A1")), Lease())
    assert stored == ([], 0, 1)
    assert PendingDelivery.objects.get().lease == first.token


def test_only_the_new_events_of_overlapping_batches_are_pending(database: str) -> None:
    store.store(stream_entries(open_event("A1"), open_event("B2")), Lease())
    stored = store.store(stream_entries(open_event("C3"), open_event("B2"), open_event("D4")), Lease())
    assert leased_ids(stored.deliveries) == ["C3", "D4"]
    assert (stored.duplicates, stored_ids()) == (1, ["A1", "B2", "C3", "D4"])


def test_ids_that_differ_in_letter_case_are_two_events(database: str) -> None:
    assert len(store.store(stream_entries(open_event("aB"), open_event("Ab")), Lease()).deliveries) == 2


def test_dedupe_by_content_ignores_the_event_id(database: str, anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="content")
    stored = store.store(
        stream_entries(open_event("A1"), open_event("B2"), open_event("C3", ip="203.0.113.9")), Lease()
    )
    assert (len(stored.deliveries), stored.duplicates) == (2, 1)


def test_an_unreadable_element_is_stored_as_a_dead_letter_with_a_reason(database: str) -> None:
    stored = store.store(
        stream_entries(open_event("A1"), b'{"event": "op', b"[1]", open_event("B2")), Lease()
    )
    assert (leased_ids(stored.deliveries), stored.dead_letters) == (["A1", "B2"], 2)
    cut, array = dead_letters()
    assert "is not JSON" in cut.error
    assert "an array and not an object" in array.error
    assert (cut.lease, cut.failures, cut.worker_deaths) == (None, 0, 0)
    assert (bytes(cut.event.raw), cut.event.event_type) == (b'{"event": "op', "unknown")
    assert counters.read_counters() == {"dead_letters unreadable": 2}


def test_the_same_unreadable_element_is_a_duplicate(database: str) -> None:
    store.store(stream_entries(b"nonsense"), Lease())
    assert store.store(stream_entries(b"nonsense", b"nonsense"), Lease()) == ([], 0, 2)


def test_an_unknown_event_type_is_pending_like_any_other(database: str) -> None:
    (delivery,) = store.store(
        stream_entries({"event": "teleported", "sg_event_id": "A1"}), Lease()
    ).deliveries
    assert delivery.event is not None
    assert delivery.event.event_type is EventType.UNKNOWN


def test_storing_no_entries_needs_no_database() -> None:
    Router.events = "a database nobody has"
    try:
        assert store.store([], Lease()) == ([], 0, 0)
    finally:
        Router.events = "default"


def test_unstorable_values_are_cleaned(database: str) -> None:
    stored = store.store(
        stream_entries(
            open_event("x" * 300),
            open_event("\0nul\ud800"),
            open_event("long", email="İ" * 400, anymail_id="\U0001f600" * 300),
            open_event("old", timestamp=-5),
            open_event("late", timestamp=253_402_300_799),
            open_event("never", timestamp=10**30),
        ),
        Lease(),
    )
    assert (len(stored.deliveries), stored.dead_letters, dead_letters()) == (6, 0, [])
    assert Event.objects.get(event_id="nul\ufffd")
    assert len(Event.objects.get(event_id="long").recipient) == 320


def test_a_foreign_stream_entry_is_stored_as_a_dead_letter(database: str) -> None:
    stored = store.store([Entry(b"18446744073709551615-1", "\0no such id\ud800" * 9, [b""])], Lease())
    assert stored == ([], 1, 0)
    assert len(Event.objects.get().webhook) == 32


# What the database refuses


@pytest.fixture
def refused(database: str) -> Iterator[str]:
    """An address the database takes no event of: a trigger's doing, for the columns take anything clean."""
    address = "refused@example.net"
    create, drop = TRIGGERS[database]
    with connections[database].cursor() as cursor:
        cursor.execute(create.replace("ADDRESS", address))
    yield address
    with connections[database].cursor() as cursor:
        for statement in drop:
            cursor.execute(statement)


TRIGGERS = {
    "default": (
        "CREATE TRIGGER refuse BEFORE INSERT ON events_app_event WHEN NEW.recipient = 'ADDRESS' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        ["DROP TRIGGER refuse"],
    ),
    "postgres": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.recipient = 'ADDRESS' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END IF; "
        "RETURN NEW; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON events_app_event FOR EACH ROW EXECUTE FUNCTION refuse()",
        ["DROP TRIGGER refuse ON events_app_event", "DROP FUNCTION refuse"],
    ),
}


@pytest.mark.parametrize("at", [0, 13, 99])
def test_a_refused_row_becomes_a_dead_letter_and_its_neighbours_are_stored(refused: str, at: int) -> None:
    events = [open_event(f"{number:03d}") for number in range(100)]
    events[at]["email"] = refused
    stored = store.store(stream_entries(*events), Lease())
    assert (len(stored.deliveries), stored.dead_letters, stored.duplicates) == (99, 1, 0)
    (parked,) = dead_letters()
    assert parked.error.startswith("The database refused the event's columns: ")
    assert refused not in parked.error
    assert json.loads(bytes(parked.event.raw)) == events[at]
    assert (parked.event.recipient, parked.event.event_id, parked.lease) == ("", "", None)
    assert counters.read_counters() == {"dead_letters unreadable": 1}


def test_several_refused_rows_become_dead_letters(refused: str) -> None:
    events = [open_event(f"{n:02d}", email=refused if n % 3 == 0 else "mira@example.net") for n in range(20)]
    stored = store.store(stream_entries(*events), Lease())
    assert (len(stored.deliveries), stored.dead_letters) == (13, 7)
    assert len(dead_letters()) == 7


def test_a_refused_event_posted_twice_is_a_duplicate(refused: str) -> None:
    store.store(stream_entries(open_event("A1", email=refused)), Lease())
    stored = store.store(stream_entries(open_event("A1", email=refused), open_event("B2")), Lease())
    assert (leased_ids(stored.deliveries), stored.dead_letters, stored.duplicates) == (["B2"], 0, 1)
    assert len(dead_letters()) == 1


# The database away


def test_a_database_outage_raises_an_error_without_event_data(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseUnavailable) as raised:
        store.store(stream_entries(open_event("A1")), Lease())
    assert str(raised.value) == "OperationalError"


@on_postgresql
def test_a_broken_connection_raises_database_away(database: str) -> None:
    terminate_connection(database)
    with pytest.raises(DatabaseUnavailable):
        store.store(stream_entries(open_event("A1")), Lease())
    connections[database].close()
    assert len(store.store(stream_entries(open_event("A1")), Lease()).deliveries) == 1


@on_postgresql
def test_a_locked_table_raises_database_away(database: str) -> None:
    with connections[database].cursor() as ours:
        ours.execute("SET lock_timeout = '10ms'")
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE events_app_event IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable):
            store.store(stream_entries(open_event("A1")), Lease())
    assert len(store.store(stream_entries(open_event("A1")), Lease()).deliveries) == 1
    connections[database].close()


def test_a_missing_table_raises_database_away_and_makes_no_dead_letters(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("ALTER TABLE events_app_pendingdelivery RENAME TO work_elsewhere")
        try:
            with pytest.raises(DatabaseUnavailable):
                store.store(stream_entries(*generate_events(100)), Lease())
        finally:
            cursor.execute("ALTER TABLE work_elsewhere RENAME TO events_app_pendingdelivery")
    assert not Event.objects.exists()


def is_insert_of(address: str, sql: str, params: object) -> bool:
    return sql.startswith("INSERT INTO events_app_event ") and address in str(params)


@contextmanager
def away_at_second_insert(address: str, database: str, *, for_long: bool) -> Iterator[None]:
    """The database goes away at the second insert of an event to this address."""
    inserts = itertools.count(1)

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if is_insert_of(address, sql, params) and next(inserts) == 2:
            if for_long:
                stack.enter_context(database_away(database))
            raise OperationalError
        return call(sql, params, many, context)

    with ExitStack() as stack, connections[database].execute_wrapper(execute):
        yield


@pytest.mark.parametrize("for_long", [False, True])
def test_a_half_batch_stored_before_an_outage_is_released_for_any_worker(
    database: str, refused: str, for_long: bool
) -> None:
    mixed = stream_entries(open_event("A1"), open_event("B2", email=refused))
    # The whole is refused, the first half goes in, the second never arrives.
    with away_at_second_insert(refused, database, for_long=for_long), pytest.raises(DatabaseUnavailable):
        store.store(mixed, Lease())
    assert stored_ids() == ["A1"]
    assert leases.anything_released() is not for_long
    results.unwritten.flush()
    assert leased_ids(leases.take_released(Lease(), 10)) == ["A1"]
    assert store.store(mixed, Lease()) == ([], 1, 1)


def test_a_half_batch_stored_before_the_time_limit_is_released_for_any_worker(
    database: str, refused: str
) -> None:
    inserts = itertools.count(1)

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if is_insert_of(refused, sql, params) and next(inserts) == 2:
            raise SoftTimeLimitExceeded
        return call(sql, params, many, context)

    mixed = stream_entries(open_event("A1"), open_event("B2", email=refused))
    with connections[database].execute_wrapper(execute), pytest.raises(SoftTimeLimitExceeded):
        store.store(mixed, Lease())
    assert leased_ids(leases.take_released(Lease(), 10)) == ["A1"]


# take_in


def read() -> list[Entry]:
    return stream.read_entries(100, leases.lease_duration_ms()).entries


def append(*events: Any) -> None:
    stream.append("tracking", [raw for entry in stream_entries(*events) for raw in entry.events])


def test_stored_events_are_deleted_from_the_stream(database: str) -> None:
    append(open_event("A1"), open_event("B2"), b"nonsense")
    deliveries = store.ingest(read(), Lease())
    assert leased_ids(deliveries) == ["A1", "B2"]
    assert (stream.backlog(), Event.objects.count()) == (0, 3)


def test_a_database_outage_returns_entries_to_the_stream(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    append(open_event("A1"), open_event("B2"))
    with database_away(database), pytest.raises(DatabaseUnavailable, match="OperationalError"):
        store.ingest(read(), Lease())
    assert len(store.ingest(read(), Lease())) == 2
    assert (stored_ids(), stream.backlog()) == (["A1", "B2"], 0)


def test_events_are_pending_although_redis_is_away_after_the_commit(
    database: str, anymail: Callable[..., None], caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    there = settings.ANYMAIL
    append(open_event("A1"))
    waiting = read()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert leased_ids(store.ingest(waiting, Lease())) == ["A1"]
    assert "1 stored events stay in Redis: ConnectionError" in caplog.messages
    settings.ANYMAIL = there
    stream.release_entries(waiting, leases.lease_duration_ms())
    assert store.ingest(read(), Lease()) == []
    assert (stored_ids(), stream.backlog()) == (["A1"], 0)


# Many at once


def test_concurrent_workers_with_overlapping_events_store_each_once(database: str) -> None:
    events = stream_entries(*generate_events(150))
    together = Barrier(10)

    def work(seed: int) -> list[int]:
        mine = random.Random(seed).sample(events, 120)
        together.wait()
        try:
            return [delivery.pk for delivery in store.store(mine, Lease()).deliveries]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        pks = list(itertools.chain.from_iterable(pool.map(work, range(10))))
    assert len(pks) == len(set(pks)) == Event.objects.count() == PendingDelivery.objects.count()
    assert counters.read_counters()["events_duplicate"] == 10 * 120 - len(pks)


# Anything at all


@hypothesis_settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(max_size=60) | any_object.map(lambda found: json.dumps(found).encode()), max_size=6)
)
@example([b'{"sg_event_id": "\xff\x00"}', b'{"event": "open", "email": "\x00"}', b"{}", b"[" * 5000])
@example([b'{"sg_event_id": 1, "timestamp": 1e308}', b'{"sg_event_id": ["a"], "category": {"a": NaN}}'])
@example([b'{"sg_event_id": "A", "event": "\\ud800", "anymail_id": "\\u0000\\udfff"}'])
def test_no_bytes_affect_their_neighbours(
    database: str, tracking: ReceiverSignal, raws: Sequence[bytes]
) -> None:
    good = [str(uuid.uuid4()) for _ in range(len(raws) + 1)]
    mixed = [open_event(good[0])] + [
        one for pair in zip(raws, map(open_event, good[1:]), strict=True) for one in pair
    ]
    came: list[str | None] = []

    def receiver(event: TrackingEvent, **_: Any) -> None:
        came.append(event.event_id)

    tracking.connect(receiver, dispatch_uid="property")
    lease = Lease()
    try:
        stored = store.store(stream_entries(*mixed), lease)
        assert dispatcher.deliver(stored.deliveries, lease)
    finally:
        tracking.disconnect(dispatch_uid="property")
    assert [event_id for event_id in came if event_id in good] == good
    assert len(stored.deliveries) + stored.dead_letters + stored.duplicates == len(mixed)
    assert not PendingDelivery.objects.filter(state=PendingDelivery.State.PENDING).exists()


def test_an_internal_error_makes_a_dead_letter_of_only_its_own_event(database: str) -> None:
    real = normalize

    def faulty(raw: dict[str, Any]) -> TrackingEvent:
        if raw["sg_event_id"] == "B2":
            raise ZeroDivisionError("mira.okafor@example.net")
        return real(raw)

    with mock.patch.object(tables, "normalize", faulty):
        stored = store.store(stream_entries(open_event("A1"), open_event("B2"), open_event("C3")), Lease())
    assert leased_ids(stored.deliveries) == ["A1", "C3"]
    assert [work.error for work in dead_letters()] == ["Reading it failed: ZeroDivisionError."]


# What moves with the events


@contextmanager
def hearing(receiver: Callable[..., None]) -> Iterator[None]:
    signals.stored.connect(receiver)
    try:
        yield
    finally:
        signals.stored.disconnect(receiver)


def test_the_stored_signal_is_sent_once_inside_the_transaction(database: str) -> None:
    def hear(events: list[TrackingEvent], received_at: list[datetime], using: str, **_: Any) -> None:
        assert connections[using].in_atomic_block
        told.append(([event.event_id for event in events], using))
        assert received_at == [datetime.fromtimestamp(ENTRY_TIME / 1000, UTC)] * len(events)

    told: list[tuple[list[str | None], str]] = []
    with hearing(hear):
        store.store(
            stream_entries(open_event("A1"), b"nonsense", open_event("B2"), open_event("A1")), Lease()
        )
        store.store(stream_entries(open_event("B2")), Lease())
        store.store(stream_entries(open_event("B2"), open_event("C3")), Lease())
        store.store(stream_entries(b"more nonsense"), Lease())
    assert told == [(["A1", "B2"], database), (["C3"], database)]


@pytest.mark.parametrize("error", [ZeroDivisionError, OperationalError])
def test_an_error_in_a_stored_signal_receiver_rolls_back_the_storing(
    database: str, error: type[Exception]
) -> None:
    def hear(**_: Any) -> None:
        assert Event.objects.exists()
        raise error

    with hearing(hear), pytest.raises(DatabaseUnavailable if error is OperationalError else error):
        store.store(stream_entries(open_event("A1")), Lease())
    assert not Event.objects.exists()
    assert not PendingDelivery.objects.exists()
