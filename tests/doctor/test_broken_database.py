"""A database that is away, not migrated, or without an index is named, with its mend."""

from collections.abc import Callable
from datetime import UTC, datetime
from unittest import mock

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from events_app.models import Event
from events_app.monitoring import event_table
from tests.support.databases import database_away, on_postgresql
from tests.support.doctor import Line, examine
from tests.support.events.stored_events import open_event, store_done

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def name_of(database: str) -> str:
    return "The database" if database == "default" else f'The database "{database}"'


def execute(database: str, statement: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute(statement)


def test_away(database: str) -> None:
    with database_away(database):
        run = examine()
    assert run.exit_code == 1
    fault = run.fault("Database")
    assert fault.text.startswith("The database cannot be asked: ")
    assert fault.advice.startswith("Start it, and look at DATABASES.")


def test_a_migration_that_is_not_applied(database: str) -> None:
    recorder = MigrationRecorder(connections[database])
    recorder.record_unapplied("sending_app", "0001_initial")
    try:
        fault = examine().fault("Database")
    finally:
        recorder.record_applied("sending_app", "0001_initial")
    option = "" if database == "default" else f" --database {database}"
    assert fault == Line(
        "Database",
        "error",
        f"{name_of(database)} lacks the migrations sending_app.0001_initial.",
        f"Run manage.py migrate{option}.",
    )


def test_a_migration_of_another_version(database: str) -> None:
    recorder = MigrationRecorder(connections[database])
    recorder.record_applied("events_app", "9999_later")
    try:
        fault = examine().fault("Database")
    finally:
        recorder.record_unapplied("events_app", "9999_later")
    assert "does not have: events_app.9999_later." in fault.text
    assert fault.advice.startswith("A newer version has migrated the database.")


def test_an_index_that_was_dropped_comes_back_by_the_advice(database: str) -> None:
    execute(database, "DROP INDEX event_recipient")
    fault = examine().fault("Database")
    assert fault.level == "warning"
    assert fault.text == f"{name_of(database)} lacks the indexes event_recipient (of events_app_event)."
    _, _, statement = fault.advice.partition("Make them again: ")
    execute(database, statement)
    assert not [line for line in examine().faults() if line.subject == "Database"]


@on_postgresql
def test_a_unique_key_that_was_dropped_is_an_error(database: str) -> None:
    """Without the key, an event is stored as often as SendGrid posts it."""
    constraints = connections[database].introspection.get_constraints(
        connections[database].cursor(), Event._meta.db_table
    )
    # PostgreSQL 18 lists "not null" as well.
    (name,) = (
        name
        for name, constraint in constraints.items()
        if constraint["columns"] == ["key"] and constraint["unique"]
    )
    execute(database, f"ALTER TABLE events_app_event DROP CONSTRAINT {name}")
    try:
        fault = examine().fault("Database")
    finally:
        execute(database, f"ALTER TABLE events_app_event ADD CONSTRAINT {name} UNIQUE (key)")
    assert (fault.level, "on key (of events_app_event)" in fault.text) == ("error", True)


@on_postgresql
def test_an_index_that_was_not_finished(database: str) -> None:
    change = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = 'event_recipient'::regclass"
    execute(database, change.format("false"))
    try:
        fault = examine().fault("Database")
    finally:
        execute(database, change.format("true"))
    assert "does not use the indexes event_recipient." in fault.text
    assert 'REINDEX INDEX CONCURRENTLY "event_recipient";' in fault.advice


def test_events_that_are_never_removed(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=0)
    store_done(open_event("A1"), open_event("B2"))
    with mock.patch.object(event_table, "MANY", 1):
        (line,) = (line for line in examine().lines if "none is ever removed" in line.text)
    assert line.level == "advice"
    assert line.advice.startswith("Set EVENT_RETENTION_DAYS")


def test_events_that_should_have_been_removed(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    store_done(open_event("A1"))
    Event.objects.using(database).update(received_at=datetime(2026, 1, 2, tzinfo=UTC))
    fault = examine().fault("Database")
    assert fault.text.startswith("Old events are not removed: the oldest is of 2026-01-02")
    assert "queue sendgrid.retries" in fault.advice
