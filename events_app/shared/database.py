"""What both apps ask of a database: its clock, conditions, slices of rows, and text that it takes."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Field, Func, Model, QuerySet
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone


class DatabaseUnavailable(Exception):
    """The database could not be asked. Nothing is known to be wrong with the pending deliveries."""


def database_now(using: str) -> datetime:
    """The database's clock, which all workers share. Leases go by it."""
    connection = connections[using]
    if connection.vendor == "sqlite":  # a library in our own process: its clock is ours
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
        return found


def sql_now(using: str) -> datetime | Now:
    """The same as a value in a query, which takes no query of its own: when its statement begins."""
    return timezone.now() if connections[using].vendor == "sqlite" else Now()


class AnyOf(Func):
    """A condition on a column of numbers or UUIDs, for `filter`.

    `__in` writes a placeholder for each value, has each quoted by itself and has the database read a longer
    statement: for some hundred ids that costs more than the query.
    """

    output_field = BooleanField()

    def __init__(self, column: str | F, values: Sequence[int | UUID]) -> None:
        super().__init__(column)
        self.values = values

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, field = self._column(compiler)
        # Not as a list: psycopg quotes each item of one.
        array = f"{{{','.join(map(str, self.values))}}}"
        return f"{sql} = ANY(%s::{field.db_type(connection)}[])", (*params, array)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, field = self._column(compiler)
        values = json.dumps([field.get_db_prep_value(value, connection) for value in self.values])
        return f"{sql} IN (SELECT value FROM json_each(%s))", (*params, values)  # noqa: S608 (a column of ours)

    def _column(self, compiler: SQLCompiler) -> "tuple[str, tuple[Any, ...], Field[Any, Any]]":
        if not self.values:
            raise EmptyResultSet  # as `__in` does: no query then
        (column,) = self.get_source_expressions()
        sql, params = compiler.compile(column)
        return sql, tuple(params), cast("Field[Any, Any]", column.output_field)


Row = TypeVar("Row", bound=Model)

#: Rows that are read, or changed, in one go.
SLICE = 1000


def slices(rows: "QuerySet[Row]", size: int | None = None, newest_first: bool = False) -> Iterator[list[Row]]:
    """The rows by id, a slice at a time; each is met once, whatever changes in the meantime."""
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    ordered = rows.order_by(order)
    part = list(ordered[: size or SLICE])
    while part:
        yield part
        part = list(ordered.filter(**{beyond: part[-1].pk})[: size or SLICE])


# PostgreSQL stores no NUL in text, and no database driver encodes half a surrogate pair.
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` as any database takes it: NUL left out, lone surrogates replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
