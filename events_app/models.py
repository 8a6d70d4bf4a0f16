"""What the database keeps: every event for ever as it came, and the work that is still owed for some.

`Event` is only ever inserted; its unique key decides what is a repeat. `Work` exists while an
event is owed to a receiver: done is a delete, `dead` stays until somebody looks.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils import timezone

from events_app.signals import EventType


class EventManager(models.Manager["Event"]):
    """Inserts events the way that costs each database least."""

    def insert_new(self, events: Sequence["Event"], using: str) -> dict[bytes, int]:
        """Insert those whose key is new; answer their ids by key.

        The rows go in sorted by key: two workers that insert the same events in different orders
        would otherwise deadlock. Raises what the database raises.
        """
        connection = connections[using]
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        ordered = sorted(events, key=lambda event: bytes(event.key))
        insert = _insert_arrays if connection.vendor == "postgresql" else _insert_values
        return insert(connection, fields, ordered)


class Event(models.Model):
    """One event as SendGrid posted it, with the columns people look it up by."""

    key = models.BinaryField(max_length=16, unique=True, editable=False)
    event_type = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in EventType])
    event_id = models.CharField(max_length=255, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    #: Lower case, for look-up; `raw` has it as it came.
    recipient = models.CharField(max_length=320, blank=True)
    #: When it happened; null where SendGrid's own timestamp is unreadable.
    timestamp = models.DateTimeField(null=True)
    #: When the door took it.
    received_at = models.DateTimeField()
    #: The door it came through: names the webhook view that receivers get as `sender`.
    door = models.CharField(max_length=32)
    raw = models.BinaryField()

    objects: ClassVar[EventManager] = EventManager()

    class Meta:
        # Not db_index: for text that makes a second index on PostgreSQL, for LIKE.
        indexes = (
            models.Index(fields=["message_id"], name="event_message_id"),
            models.Index(fields=["recipient"], name="event_recipient"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} event {self.pk}"


class DatabaseAway(Exception):
    """The database could not be asked. Nothing is known to be wrong with the events."""


OWED = Q(state="owed")
#: The lanes of owed work: nobody has failed at it and nobody has it; it is to be tried again; somebody
#: has it, or had it and is gone.
RELEASED = Q(claim=None, failures=0, replay=False)
TO_RETRY = Q(claim=None) & (Q(failures__gt=0) | Q(replay=True))
CLAIMED = Q(claim__isnull=False)


class Work(models.Model):
    """What is still owed for one event."""

    class State(models.TextChoices):
        OWED = "owed"
        DEAD = "dead"

    event = models.OneToOneField(Event, models.CASCADE, primary_key=True)
    state = models.CharField(max_length=4, choices=State, default=State.OWED)
    #: The token of the worker that has it; null when nobody has.
    claim = models.BigIntegerField(null=True)
    #: When anyone may take it: the end of the lease while it is claimed, else the time it is due.
    due = models.DateTimeField()
    #: How often it was tried and a receiver failed.
    failures = models.PositiveSmallIntegerField(default=0)
    #: How often it was taken over from a worker that died or overran its time.
    lapses = models.PositiveSmallIntegerField(default=0)
    #: Whether an operator has asked for it once more after it was done or dead.
    replay = models.BooleanField(default=False)
    #: The receivers it is still owed to, by name, each with the traceback of its last failure.
    #: Empty: all there are.
    receivers = models.JSONField(default=dict)
    #: Why it is dead.
    error = models.TextField(blank=True)

    class Meta:
        # One for each lane: a million replays that wait are not in the way of a drain's look for work.
        indexes = (
            models.Index(fields=["event"], name="work_released", condition=OWED & RELEASED),
            models.Index(fields=["due"], name="work_to_retry", condition=OWED & TO_RETRY),
            models.Index(fields=["due"], name="work_claimed", condition=OWED & CLAIMED),
        )
        verbose_name_plural = "work"

    def __str__(self) -> str:
        return f"{self.state} work for event {self.event_id}"


def database_now(using: str) -> datetime:
    """The database's clock, which all workers share. Leases go by it."""
    connection = connections[using]
    if connection.vendor == "sqlite":  # a library in our own process: its clock is ours
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
        return found


_Fields: TypeAlias = Sequence["models.Field[Any, Any]"]


def _insert_arrays(
    connection: BaseDatabaseWrapper, fields: _Fields, events: Sequence[Event]
) -> dict[bytes, int]:
    # One parameter a column: the statement's text is the same for any number of rows.
    columns = [[getattr(event, field.attname) for event in events] for field in fields]
    arrays = ", ".join(f"%s::{_array_type(field, connection)}[]" for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(_insert(connection, fields, f"SELECT * FROM unnest({arrays})"), columns)  # noqa: S608 (our own column types)
        return {bytes(key): pk for key, pk in cursor.fetchall()}


def _array_type(field: "models.Field[Any, Any]", connection: BaseDatabaseWrapper) -> str:
    return (field.db_type(connection) or "").partition("(")[0]


def _insert_values(
    connection: BaseDatabaseWrapper, fields: _Fields, events: Sequence[Event]
) -> dict[bytes, int]:
    # SQLite takes 32,766 parameters a statement.
    row = f"({', '.join(['%s'] * len(fields))})"
    inserted: dict[bytes, int] = {}
    for at in range(0, len(events), 1000):
        part = events[at : at + 1000]
        values = [
            field.get_db_prep_save(getattr(event, field.attname), connection)
            for event in part
            for field in fields
        ]
        with connection.cursor() as cursor:
            cursor.execute(_insert(connection, fields, f"VALUES {', '.join([row] * len(part))}"), values)
            inserted.update((bytes(key), pk) for key, pk in cursor.fetchall())
    return inserted


def _insert(connection: BaseDatabaseWrapper, fields: _Fields, rows: str) -> str:
    quote = connection.ops.quote_name
    columns = [field.column or field.attname for field in fields]
    names = ", ".join(quote(column) for column in columns)
    table = quote(Event._meta.db_table)
    return (
        f"INSERT INTO {table} ({names}) {rows} "
        f"ON CONFLICT ({quote('key')}) DO NOTHING RETURNING {quote('key')}, {quote('id')}"
    )
