"""The migration to keys that begin with the time: what was stored before is still a duplicate after."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from importlib import import_module
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

from events_app.decode import Unreadable, decode_object, event_id
from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import Event
from events_app.shared import own_events
from events_app.shared.database import database_now
from events_app.stream import Entry
from tests.support.events.stored_events import ENTRY_TIME, open_event, stream_entries

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

migration = import_module("events_app.migrations.0007_time_ordered_keys")

SECONDS = ENTRY_TIME // 1000
EVENTS: tuple[Any, ...] = (
    open_event("A1", timestamp=SECONDS),
    open_event("B2", timestamp=str(SECONDS)),
    open_event("C3", timestamp=SECONDS * 1000 + 123),
    open_event("D4", timestamp=SECONDS + 0.75),
    open_event("E5"),
    open_event("F6", timestamp=10**30),
    open_event("G7", timestamp=2**32 + 5),
    {"event": "delivered", "email": "ann@example.com", "timestamp": SECONDS},
    b"[17]",
)


def old_key(raw: bytes, by: str) -> bytes:
    """The key of earlier versions."""
    try:
        event = decode_object(raw)
    except Unreadable:
        data, person = raw, b"sendgrid raw"
    else:
        sendgrid_id = event_id(event) if by == "event_id" else None
        facts = {name: fact for name, fact in event.items() if name != "sg_event_id"}
        text = sendgrid_id or json.dumps(facts, sort_keys=True, separators=(",", ":"))
        data, person = text.encode(), b"sendgrid facts" if sendgrid_id is None else b"sendgrid id"
    return blake2b(data, digest_size=16, person=person).digest()


def store_with_old_keys(*events: Any, by: str = "event_id", days: float = 1) -> None:
    """Store events as an earlier version did, `days` ago."""
    before = set(Event.objects.values_list("pk", flat=True))
    assert not store.store(stream_entries(*events), Lease()).duplicates
    received_at = database_now(Event.objects.db) - timedelta(days=days)
    for row in Event.objects.exclude(pk__in=before):
        Event.objects.filter(pk=row.pk).update(key=old_key(bytes(row.raw), by), received_at=received_at)


def migrate(database: str) -> None:
    for name in ("0006_erased_persons", "0007_time_ordered_keys"):
        MigrationExecutor(connections[database]).migrate([("events_app", name)])
    leaves = MigrationExecutor(connections[database])
    leaves.migrate([node for node in leaves.loader.graph.leaf_nodes() if node[0] == "events_app"])


def duplicates_of(*events: Any) -> int:
    return store.store(stream_entries(*events), Lease()).duplicates


def keys() -> list[bytes]:
    return [bytes(key) for key in Event.objects.order_by("pk").values_list("key", flat=True)]


@pytest.mark.parametrize("by", ["event_id", "content"])
def test_events_stored_before_are_duplicates_after(
    database: str, by: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(DEDUPE_BY=by)
    monkeypatch.setattr(migration, "_SLICE", 2)
    store_with_old_keys(*EVENTS, by=by)
    migrate(database)
    assert duplicates_of(*EVENTS) == len(EVENTS) == Event.objects.count()


def test_an_event_of_ours_is_a_duplicate_after_at_another_time(database: str) -> None:
    ours = {"sg_event_id": "unsubscribe-1", own_events.MARK: own_events.UNSUBSCRIBED, "event": "unsubscribe"}
    store_with_old_keys({**ours, "timestamp": SECONDS})
    Event.objects.update(webhook=own_events.WEBHOOK)
    migrate(database)
    again = json.dumps({**ours, "timestamp": SECONDS + 1}).encode()
    assert store.store([Entry(b"1-0", own_events.WEBHOOK, [again])], Lease()).duplicates == 1


def test_keys_of_older_events_stay(database: str) -> None:
    store_with_old_keys(open_event("A1", timestamp=SECONDS), days=8)
    store_with_old_keys(open_event("B2", timestamp=SECONDS), days=6)
    before = keys()
    migrate(database)
    assert keys() == [before[0], SECONDS.to_bytes(4) + before[1][:12]]


def test_a_second_run_changes_nothing(database: str) -> None:
    store_with_old_keys(*EVENTS)
    migrate(database)
    before = keys()
    migrate(database)
    assert keys() == before


def test_an_event_stored_under_both_keys_keeps_both_rows(database: str) -> None:
    """Workers of the new version ran before the migration."""
    store_with_old_keys(EVENTS[0], EVENTS[1])
    assert duplicates_of(EVENTS[0]) == 0
    before = keys()
    migrate(database)
    assert keys() == [before[0], SECONDS.to_bytes(4) + before[1][:12], before[2]]
    assert duplicates_of(*EVENTS[:2]) == 2


@contextmanager
def failing_updates(database: str, error: Exception, times: int) -> Iterator[None]:
    """The first UPDATEs of the events raise `error`."""
    failures = iter(range(times))

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("\nUPDATE events_app_event") and next(failures, None) is not None:
            raise error
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        yield


@pytest.mark.parametrize("error", [IntegrityError("duplicate key"), OperationalError("deadlock detected")])
def test_a_conflict_with_a_worker_is_tried_again(database: str, error: Exception) -> None:
    store_with_old_keys(*EVENTS)
    with failing_updates(database, error, times=4):
        migrate(database)
    assert duplicates_of(*EVENTS) == len(EVENTS)


def test_a_migration_that_was_broken_off_can_begin_anew(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "_SLICE", 2)
    store_with_old_keys(*EVENTS)
    run = migration.lead_keys_by_time
    apps = MigrationExecutor(connections[database]).loader.project_state().apps
    with (
        failing_updates(database, OperationalError("disk full"), times=100),
        pytest.raises(OperationalError),
        connections[database].schema_editor(atomic=False) as editor,
    ):
        run(apps, editor)
    migrate(database)
    assert duplicates_of(*EVENTS) == len(EVENTS)
