"""A message, its only part and their recipients in one statement, where each is a trip to the database else.

For PostgreSQL: SQLite inserts into one table a statement.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model
from django.db.models.functions import Now

from sending_app.models import OutboxMessage, Part, Recipient

_INSERT = """
WITH message AS (INSERT INTO {message} ({message_columns}) VALUES {message_values} RETURNING id),
part AS (
    INSERT INTO {part} (message_id, {part_columns})
    SELECT message.id, kept.* FROM message, (VALUES {part_values}) AS kept RETURNING id
)
INSERT INTO {recipient} (part_id, {recipient_columns})
SELECT part.id, kept.* FROM part, (VALUES {recipient_values}) AS kept
"""


def insert(using: str, message: OutboxMessage, part: Part, recipients: Sequence[Recipient]) -> None:
    """Into the database of this alias, or nothing of it. The rows do not learn their keys."""
    parameters: list[Any] = []
    words: dict[str, str] = {}
    for name, rows, beside in (
        ("message", [message], "id"),
        ("part", [part], "id message_id"),
        ("recipient", recipients, "id part_id"),
    ):
        fields = _fields(rows[0], beside.split())
        words[name] = rows[0]._meta.db_table
        words[f"{name}_columns"] = ", ".join(str(field.column) for field in fields)
        words[f"{name}_values"] = ", ".join(_values(row, fields, using, parameters) for row in rows)
    with connections[using].cursor() as cursor:
        cursor.execute(_INSERT.format(**words), parameters)


def _fields(row: Model, beside: Iterable[str]) -> "list[Field[Any, Any]]":
    # What is null is left out: among values it would be taken for a text.
    fields = row._meta.concrete_fields
    return [one for one in fields if one.attname not in beside and getattr(row, one.attname) is not None]


def _values(row: Model, fields: "Iterable[Field[Any, Any]]", using: str, parameters: list[Any]) -> str:
    """A row of placeholders; what is to stand there goes to the parameters."""
    connection = connections[using]
    places = []
    for field in fields:
        value = getattr(row, field.attname)
        if isinstance(value, Now):
            places.append("statement_timestamp()")
        else:
            places.append("%s")
            parameters.append(field.get_db_prep_save(value, connection))
    return f"({', '.join(places)})"
