"""The stored events. Rows are insert-only, and the unique key decides about duplicates."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

import msgspec
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from events_app.signals import EventType


class NewEvent(msgspec.Struct):
    """An event to store. An `Event` would cost ten times as much to create."""

    key: bytes
    received_at: datetime
    webhook: str
    raw: bytes
    event_type: str = EventType.UNKNOWN.value
    event_id: str = ""
    message_id: str = ""
    recipient: str = ""
    timestamp: datetime | None = None


class EventManager(models.Manager["Event"]):
    """Inserts events in the cheapest way for the database."""

    def insert_new(self, events: Sequence[NewEvent], using: str) -> dict[bytes, int]:
        """Insert the events with a new key; return the ids by key.

        Inserts in the order of keys: two workers that insert the same events in different orders would
        deadlock. Raises the database's errors.
        """
        connection = connections[using]
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        ordered = sorted(events, key=lambda event: event.key)
        insert = _insert_json if connection.vendor == "postgresql" else _insert_values
        return insert(connection, fields, ordered)


class Event(models.Model):
    """An event as SendGrid posted it, with columns for look-up."""

    key = models.BinaryField(max_length=16, unique=True, editable=False)
    event_type = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in EventType])
    event_id = models.CharField(max_length=255, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    #: Lower case, for look-up; `raw` has the original.
    recipient = models.CharField(max_length=320, blank=True)
    #: When the event happened; null if SendGrid's timestamp is unreadable.
    timestamp = models.DateTimeField(null=True)
    #: When the webhook accepted the event.
    received_at = models.DateTimeField()
    #: The name of the webhook, "tracking" or "inbound". Receivers get its view as `sender`.
    webhook = models.CharField(max_length=32)
    raw = models.BinaryField()

    objects: ClassVar[EventManager] = EventManager()

    class Meta:
        # Not db_index: for a text column db_index adds a second index for LIKE on PostgreSQL.
        indexes = (
            models.Index(fields=["message_id"], name="event_message_id"),
            models.Index(fields=["recipient"], name="event_recipient"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} event {self.pk}"


_Fields: TypeAlias = Sequence["models.Field[Any, Any]"]


def _insert_json(
    connection: BaseDatabaseWrapper, fields: _Fields, events: Sequence[NewEvent]
) -> dict[bytes, int]:
    # A single parameter: quoting each value costs more than the insert. JSON has bytes as base64.
    types = ", ".join(f"{field.attname} {_type_in_json(field, connection)}" for field in fields)
    expressions = ", ".join(
        f"decode({field.attname}, 'base64')" if isinstance(field, models.BinaryField) else field.attname
        for field in fields
    )
    select = f"SELECT {expressions} FROM json_to_recordset(%s) AS new ({types})"  # noqa: S608 (our own columns)
    with connection.cursor() as cursor:
        cursor.execute(_insert(connection, fields, select), [msgspec.json.encode(events).decode()])
        return {bytes(key): pk for key, pk in cursor.fetchall()}


def _type_in_json(field: "models.Field[Any, Any]", connection: BaseDatabaseWrapper) -> str:
    if isinstance(field, models.BinaryField):
        return "text"
    # Without the length: a cast to the length would cut a longer text.
    return (field.db_type(connection) or "").partition("(")[0]


def _insert_values(
    connection: BaseDatabaseWrapper, fields: _Fields, events: Sequence[NewEvent]
) -> dict[bytes, int]:
    # SQLite accepts 32,766 parameters a statement.
    row = f"({', '.join(['%s'] * len(fields))})"
    inserted: dict[bytes, int] = {}
    for at in range(0, len(events), 1000):
        chunk = events[at : at + 1000]
        parameters = [
            field.get_db_prep_save(getattr(event, field.attname), connection)
            for event in chunk
            for field in fields
        ]
        with connection.cursor() as cursor:
            cursor.execute(_insert(connection, fields, f"VALUES {', '.join([row] * len(chunk))}"), parameters)
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
