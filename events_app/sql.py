"""The hand-written SQL of the app: statements that the ORM cannot write, or writes too slowly.

Both databases get one statement for a batch. The clock of the database is in `shared.database`.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
from django.db import connections
from django.db.models import BinaryField

from events_app.models import AbstractPendingDelivery, Event, NewEvent, PendingDelivery

# Rows of a statement of SQLite, which accepts 32,766 parameters (https://www.sqlite.org/limits.html).
_SLICE = 1000


def insert_new_events(events: Sequence[NewEvent], using: str) -> dict[bytes, int]:
    """Insert the events with a new key; return the ids by key. Raises the database's errors.

    Call this in a transaction: SQLite needs a statement for every 1,000 events.
    """
    # Not `bulk_create`: with `ignore_conflicts` it does not tell which rows are new.
    connection = connections[using]
    fields = [field for field in Event._meta.concrete_fields if not field.primary_key]
    # Two workers that insert the same events in different orders would deadlock.
    ordered = sorted(events, key=attrgetter("key"))
    # The rows of each statement, and its parameters.
    statements: list[tuple[str, list[Any]]] = []
    if connection.vendor == "postgresql":
        # A single parameter: quoting each value costs more than the insert. JSON has bytes as base64.
        expressions, types = [], []
        for field in fields:
            if isinstance(field, BinaryField):
                expression, sql_type = f"decode({field.attname}, 'base64')", "text"
            else:
                # Without the length: a cast to the length would cut a longer text.
                expression, sql_type = field.attname, (field.db_type(connection) or "").partition("(")[0]
            expressions.append(expression)
            types.append(f"{field.attname} {sql_type}")
        new = f"json_to_recordset(%s) AS new ({', '.join(types)})"
        rows = f"SELECT {', '.join(expressions)} FROM {new}"  # noqa: S608 (our own columns)
        statements.append((rows, [msgspec.json.encode(ordered).decode()]))
    else:
        row = f"({', '.join(['%s'] * len(fields))})"
        for start in range(0, len(ordered), _SLICE):
            slice_ = ordered[start : start + _SLICE]
            parameters = [
                field.get_db_prep_save(getattr(event, field.attname), connection)
                for event in slice_
                for field in fields
            ]
            statements.append((f"VALUES {', '.join([row] * len(slice_))}", parameters))
    columns = ", ".join(field.attname for field in fields)
    table = Event._meta.db_table
    ids: dict[bytes, int] = {}
    with connection.cursor() as cursor:
        for rows, parameters in statements:
            cursor.execute(
                f"INSERT INTO {table} ({columns}) {rows} ON CONFLICT (key) DO NOTHING RETURNING key, id",
                parameters,
            )
            ids.update((bytes(key), pk) for key, pk in cursor.fetchall())
    return ids


def insert_leased_deliveries(event_ids: Sequence[int], lease: int, due: datetime, using: str) -> None:
    """Insert pending deliveries of these events, to all receivers, under the lease."""
    # Not `bulk_create`: the rows differ only in the id, so the ids are a single parameter.
    connection = connections[using]
    new = PendingDelivery(lease=lease, due=due)
    fields = [field for field in PendingDelivery._meta.concrete_fields if not field.primary_key]
    parameters = [field.get_db_prep_save(getattr(new, field.attname), connection) for field in fields]
    columns = ", ".join(field.attname for field in fields)
    is_postgresql = connection.vendor == "postgresql"
    ids = "unnest(%s::bigint[]) AS new (value)" if is_postgresql else "json_each(%s)"
    statement = (
        f"INSERT INTO {PendingDelivery._meta.db_table} (event_id, {columns}) "  # noqa: S608 (names of ours)
        f"SELECT value, {', '.join(['%s'] * len(fields))} FROM {ids}"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            statement, [*parameters, list(event_ids) if is_postgresql else json.dumps(list(event_ids))]
        )


def count_failed_receivers(
    pending_model: type[AbstractPendingDelivery], using: str
) -> Counter[tuple[str, str]]:
    """Count the deliveries in which a receiver has failed, by its name and the delivery's state."""
    # The database counts: a million tracebacks are too many to fetch. A pending receiver that has not failed
    # has no traceback.
    connection = connections[using]
    each = "jsonb_each_text" if connection.vendor == "postgresql" else "json_each"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT receiver.key, state, count(*) FROM {pending_model._meta.db_table}, "  # noqa: S608
            f"{each}(receivers) AS receiver WHERE receiver.value <> '' GROUP BY receiver.key, state"
        )
        return Counter({(name, state): count for name, state, count in cursor.fetchall()})


def end_when_idle(using: str, milliseconds: int) -> None:
    """Let PostgreSQL end this transaction, and unlock its rows, when its process falls silent."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(milliseconds)]
            )
