"""The hand-written SQL of the app: statements that the ORM cannot write, or writes too slowly.

Both databases get one statement for a batch. The clock of the database is in `shared.database`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

import msgspec
from django.db import connections
from django.db.models import BinaryField
from django.utils import timezone

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


def insert_deliveries(
    event_ids: Sequence[int],
    lease: int | None,
    lasts: timedelta,
    using: str,
    traceparents: Mapping[int, str] = {},
) -> None:
    """Insert pending deliveries of these events, to all receivers, under the lease, or without a lease.

    They are due when `lasts` is over. `traceparents` has the ids of the events with a sampled span.
    """
    # Not `bulk_create`: the rows differ only in the id, so the ids are a single parameter.
    connection = connections[using]
    new = PendingDelivery(lease=lease)
    rows: dict[str, Sequence[int] | Sequence[str]] = {"event_id": event_ids}
    if traceparents:
        rows["traceparent"] = [traceparents.get(event_id, "") for event_id in event_ids]
    fields = [field for field in PendingDelivery._meta.concrete_fields if field.attname not in {"due", *rows}]
    parameters = [field.get_db_prep_save(getattr(new, field.attname), connection) for field in fields]
    if connection.vendor == "postgresql":
        due = "statement_timestamp() + %s"
        parameters.append(lasts)
        values = tuple(rows)
        arrays = ", ".join(["%s::bigint[]", "%s::text[]"][: len(rows)])
        source = f"unnest({arrays}) AS new ({', '.join(rows)})"
        parameters += [_array(event_ids), *([rows["traceparent"]] if traceparents else [])]
    else:
        due = "%s"
        parameters.append(connection.ops.adapt_datetimefield_value(timezone.now() + lasts))
        values = tuple(f"json_extract(value, '$[{number}]')" for number in range(len(rows)))
        source = "json_each(%s)"
        parameters.append(json.dumps(list(zip(*rows.values(), strict=True))))
    columns = ", ".join([*rows, *(field.attname for field in fields), "due"])
    expressions = ", ".join([*values, *["%s"] * len(fields), due])
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {PendingDelivery._meta.db_table} ({columns}) SELECT {expressions} FROM {source}",  # noqa: S608
            parameters,
        )


def delete_deliveries(
    pending_model: type[AbstractPendingDelivery], pks: Sequence[int], lease: int, using: str
) -> None:
    """Delete the pending deliveries of these rows that are under the lease."""
    # Not `QuerySet.delete`, which opens a transaction: two more round trips. Not "state is pending": see
    # `leases.leased`.
    connection = connections[using]
    if connection.vendor == "postgresql":
        among, rows = "= ANY(%s::bigint[])", _array(pks)
    else:
        among, rows = "IN (SELECT value FROM json_each(%s))", json.dumps(pks)
    table, column = pending_model._meta.db_table, pending_model._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE {column} {among} AND lease = %s AND state <> %s",  # noqa: S608
            [rows, lease, pending_model.State.DEAD_LETTER.value],
        )


def _array(numbers: Sequence[int]) -> str:
    """An array of PostgreSQL as text: psycopg quotes every item of a list."""
    return f"{{{','.join(map(str, numbers))}}}"


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


def newest_dead_letters(
    pending_model: type[AbstractPendingDelivery], using: str, most: int, characters: int
) -> list[tuple[str, str]]:
    """The failed receivers of the newest dead letters: the name, and the end of the traceback.

    Both are empty for an unreadable row, which meets no receiver.
    """
    # The database cuts the tracebacks, each of which may have 20,000 characters.
    connection = connections[using]
    each, cut = ("jsonb_each_text", "right(receiver.value, %s)")
    if connection.vendor == "sqlite":
        each, cut = "json_each", "substr(receiver.value, -%s)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT coalesce(receiver.key, ''), coalesce({cut}, '') FROM (SELECT receivers "  # noqa: S608
            f"FROM {pending_model._meta.db_table} WHERE state = %s ORDER BY {pending_model._meta.pk.column} "
            f"DESC LIMIT %s) AS newest LEFT JOIN {each}(newest.receivers) AS receiver ON true",
            [characters, pending_model.State.DEAD_LETTER.value, most],
        )
        return [(name, end) for name, end in cursor.fetchall()]


def end_when_idle(using: str, milliseconds: int) -> None:
    """Let PostgreSQL end this transaction, and unlock its rows, when its process falls silent."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(milliseconds)]
            )


def constraints(table: str, using: str) -> dict[str, Any]:
    """The indexes and constraints of a table by name, as Django's introspection describes them."""
    connection = connections[using]
    with connection.cursor() as cursor:
        return {**connection.introspection.get_constraints(cursor, table)}


def invalid_indexes(tables: Sequence[str], using: str) -> list[str]:
    """The invalid indexes of the tables. Source: PostgreSQL's documentation of CREATE INDEX."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_class t ON t.oid = i.indrelid "
            "WHERE NOT i.indisvalid AND t.relname = ANY(%s) ORDER BY 1",
            [list(tables)],
        )
        return [name for (name,) in cursor.fetchall()]


def table_bytes(table: str, using: str) -> int:
    """The size of a table of PostgreSQL with its indexes, in bytes."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s::regclass)", [table])
        (size,) = cursor.fetchone()
        return int(size)
