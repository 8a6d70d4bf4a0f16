"""The hand-written SQL of the app: statements that the ORM cannot write, or writes too slowly.

PostgreSQL gets the fast statements. SQLite is for development, and its statements are plain. The clock of the
database is in `shared.database`, for both apps.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import msgspec
from django.db import connections, transaction
from django.db.models import BinaryField

from events_app.models import AbstractPendingDelivery, Event, NewEvent, PendingDelivery


def insert_new_events(events: Sequence[NewEvent], using: str) -> dict[bytes, int]:
    """Insert the events with a new key; return the ids by key. Raises the database's errors.

    Not `bulk_create`: with `ignore_conflicts` it does not tell which rows are new.
    """
    connection = connections[using]
    fields = [field for field in Event._meta.concrete_fields if not field.primary_key]
    # Two workers that insert the same events in different orders would deadlock.
    ordered = sorted(events, key=attrgetter("key"))
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
        parameters = [[msgspec.json.encode(ordered).decode()]]
    else:
        rows = f"VALUES ({', '.join(['%s'] * len(fields))})"
        parameters = [
            [field.get_db_prep_save(getattr(event, field.attname), connection) for field in fields]
            for event in ordered
        ]
    columns = ", ".join(field.attname for field in fields)
    table = connection.ops.quote_name(Event._meta.db_table)
    statement = f"INSERT INTO {table} ({columns}) {rows} ON CONFLICT (key) DO NOTHING RETURNING key, id"
    ids: dict[bytes, int] = {}
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        for row in parameters:
            cursor.execute(statement, row)
            ids.update((bytes(key), pk) for key, pk in cursor.fetchall())
    return ids


def insert_leased_deliveries(event_ids: Sequence[int], lease: int, due: datetime, using: str) -> None:
    """Insert pending deliveries of these events, to all receivers, under the lease.

    Not `bulk_create` on PostgreSQL: the rows differ only in the id, so the ids are a single parameter.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        PendingDelivery.objects.using(using).bulk_create(
            PendingDelivery(event_id=pk, lease=lease, due=due) for pk in event_ids
        )
        return
    new = PendingDelivery(lease=lease, due=due)
    fields = [field for field in PendingDelivery._meta.concrete_fields if not field.primary_key]
    parameters = [field.get_db_prep_save(getattr(new, field.attname), connection) for field in fields]
    columns = ", ".join(field.attname for field in fields)
    table = connection.ops.quote_name(PendingDelivery._meta.db_table)
    statement = (
        f"INSERT INTO {table} (event_id, {columns}) "  # noqa: S608
        f"SELECT id, {', '.join(['%s'] * len(fields))} FROM unnest(%s::bigint[]) AS new (id)"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, list(event_ids)])


def count_failed_receivers(
    pending_model: type[AbstractPendingDelivery], using: str
) -> Counter[tuple[str, str]]:
    """Count the deliveries in which a receiver has failed, by its name and the delivery's state.

    On PostgreSQL the database counts: a million tracebacks are too many to fetch.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        rows = pending_model._default_manager.using(using).values_list("state", "receivers")
        # A pending receiver that has not failed has no traceback.
        return Counter(
            (name, state) for state, receivers in rows for name, error in receivers.items() if error
        )
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT receiver.key, state, count(*) FROM {pending_model._meta.db_table}, "  # noqa: S608
            "jsonb_each_text(receivers) AS receiver WHERE receiver.value <> '' GROUP BY receiver.key, state"
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
