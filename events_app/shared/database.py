"""Helpers for the database: the clock, conditions, slices of rows, and cleaning of text."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    """The database did not answer. The pending deliveries themselves may be fine."""


def database_now(using: str) -> datetime:
    """The database's clock, the time of all leases: workers share this clock."""
    connection = connections[using]
    if connection.vendor == "sqlite":  # runs in this process, with the same clock
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast(datetime, cursor.fetchone()[0])


def sql_now(using: str) -> datetime | Now:
    """The database's clock as an expression: the start of the statement. Needs no separate query."""
    return timezone.now() if connections[using].vendor == "sqlite" else Now()


class AnyOf(Func):
    """A condition for `filter`: a column of numbers or UUIDs contains one of the values.

    `__in` writes and quotes a placeholder for every value, and the database parses a longer statement. For
    hundreds of ids, `__in` costs more than the query.
    """

    output_field = BooleanField()

    def __init__(self, column: str | F, values: Sequence[int | UUID]) -> None:
        super().__init__(column)
        self.values = values

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, field = self._column(compiler)
        # As text: psycopg quotes every item of a list.
        array = f"{{{','.join(map(str, self.values))}}}"
        return f"{sql} = ANY(%s::{field.db_type(connection)}[])", (*params, array)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, field = self._column(compiler)
        values_as_json = json.dumps([field.get_db_prep_value(value, connection) for value in self.values])
        return f"{sql} IN (SELECT value FROM json_each(%s))", (*params, values_as_json)  # noqa: S608 (a column of ours)

    def _column(self, compiler: SQLCompiler) -> "tuple[str, tuple[Any, ...], Field[Any, Any]]":
        if not self.values:
            raise EmptyResultSet  # like `__in`: Django then sends no query
        (column,) = self.get_source_expressions()
        sql, params = compiler.compile(column)
        return sql, tuple(params), cast("Field[Any, Any]", column.output_field)


Row = TypeVar("Row", bound=Model)

#: Rows to read or change in a single statement.
SLICE = 1000


def slices(rows: "QuerySet[Row]", size: int | None = None, newest_first: bool = False) -> Iterator[list[Row]]:
    """The rows in slices, ordered by id. Changes in the meantime cause neither gaps nor duplicates."""
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    ordered = rows.order_by(order)
    chunk = list(ordered[: size or SLICE])
    while chunk:
        yield chunk
        chunk = list(ordered.filter(**{beyond: chunk[-1].pk})[: size or SLICE])


def remove_old(
    read: Callable[[int], Sequence[tuple[int, datetime]]],
    before: datetime,
    remove: Callable[[list[int]], None],
    has_budget: Callable[[], bool],
) -> bool:
    """Call `remove` with the old rows of each slice, up to the first slice without one.

    `read` gives the next rows after an id, each with the time when it was stored. Ids follow that order.
    False when the budget ended first.
    """
    last = 0
    while has_budget():
        rows = read(last)
        old = [pk for pk, stored_at in rows if stored_at < before]
        if not old:
            return True
        remove(old)
        last = rows[-1][0]
    return False


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """What operators can filter rows by. A row must meet every field; an empty field or None matches all."""

    #: Any of these ids.
    ids: tuple[str, ...] = ()
    #: Any of these states.
    states: tuple[str, ...] = ()
    #: Received or sent then or later.
    since: datetime | None = None
    #: Received or sent before.
    until: datetime | None = None

    def is_empty(self) -> bool:
        """Whether every row matches."""
        return self == type(self)()


def filter_columns(rows: "QuerySet[Row]", **columns: object) -> "QuerySet[Row]":
    """The rows whose columns have these values; None matches every value."""
    return rows.filter(**{column: value for column, value in columns.items() if value is not None})


# PostgreSQL stores no NUL in text, and no database driver encodes half a surrogate pair.
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without NUL, and with U+FFFD for lone surrogates, so that a database accepts the text."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
