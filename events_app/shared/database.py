"""Helpers for the database: the clock, conditions, slices of rows, and cleaning of text."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Field, Lookup, Max, Min, Model, Q, QuerySet
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

if TYPE_CHECKING:  # generic for the type checker alone
    _Lookup = Lookup[Any]
else:
    _Lookup = Lookup

# In the words of SQLite and of PostgreSQL.
_MISSING = re.compile(r"no such (table|column)|(relation|column) .* does not exist")


def lacks_migrations(error: BaseException) -> bool:
    """Whether a database error says that a table or a column is missing."""
    return bool(_MISSING.search(str(error)))


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


def lock_writes(model: type[Model], using: str, *, waits: bool = True) -> None:
    """Let this transaction alone write to the table, among all transactions that call this first.

    Raises OperationalError if another transaction has the lock and `waits` is false. On SQLite a transaction
    that writes is alone in any case.
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"LOCK TABLE {model._meta.db_table} IN SHARE ROW EXCLUSIVE MODE {'' if waits else 'NOWAIT'}"
            )


def use_one_snapshot(using: str) -> None:
    """Let the queries of a transaction see the same rows. Call before the first query."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


class _Condition(_Lookup):
    """A condition for `filter` about a column and a value.

    Not a `Func`: Django compares a function with TRUE on SQLite, and then no index serves the condition.
    """

    prepare_rhs = False
    rhs: Any

    def __init__(self, column: str | F, value: object) -> None:
        super().__init__(F(column) if isinstance(column, str) else column, value)

    def _column(self, compiler: SQLCompiler) -> "tuple[str, tuple[Any, ...], Field[Any, Any]]":
        sql, params = compiler.compile(self.lhs)
        return sql, tuple(params), cast("Field[Any, Any]", self.lhs.output_field)


class AnyOf(_Condition):
    """A condition for `filter`: a column of numbers or UUIDs contains one of the values.

    `__in` writes and quotes a placeholder for every value, and the database parses a longer statement. For
    hundreds of ids, `__in` costs more than the query.
    """

    def __init__(self, column: str | F, values: Sequence[int | UUID]) -> None:
        super().__init__(column, values)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        self._require_values()
        sql, params, field = self._column(compiler)
        # As text: psycopg quotes every item of a list.
        array = f"{{{','.join(map(str, self.rhs))}}}"
        return f"{sql} = ANY(%s::{field.db_type(connection)}[])", (*params, array)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        self._require_values()
        sql, params, field = self._column(compiler)
        values_as_json = json.dumps([field.get_db_prep_value(value, connection) for value in self.rhs])
        return f"{sql} IN (SELECT value FROM json_each(%s))", (*params, values_as_json)  # noqa: S608 (a column of ours)

    def _require_values(self) -> None:
        if not self.rhs:
            raise EmptyResultSet  # like `__in`: Django then sends no query


class StartsWith(_Condition):
    """A condition for `filter`: a text column begins with the text, which `clean` has made storable.

    An index serves the condition: on PostgreSQL one of the class `varchar_pattern_ops`, on SQLite any.
    Django's `__startswith` ignores case on SQLite, and uses no index there.
    """

    def __init__(self, column: str | F, text: str) -> None:
        super().__init__(column, text)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, _ = self._column(compiler)
        return f"{sql} LIKE %s", (*params, f"{connection.ops.prep_for_like_query(self.rhs)}%")

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, _ = self._column(compiler)
        after = _after(self.rhs)
        if after is None:
            return f"{sql} >= %s", (*params, self.rhs)
        return f"({sql} >= %s AND {sql} < %s)", (*params, self.rhs, *params, after)


class IndexHint(_Condition):
    """The condition of a partial index: the column has one of these words of ours.

    Add the hint to a filter that implies the condition. PostgreSQL needs no hint. SQLite uses the index only
    for a filter that has the condition with the same literals; parameters do not do.
    """

    def __init__(self, column: str | F, words: Sequence[str]) -> None:
        super().__init__(column, words)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        return "TRUE", ()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params, _ = self._column(compiler)
        literals = ", ".join(f"'{word}'" for word in self.rhs)
        return f"{sql} IN ({literals})", params


_SURROGATES = range(0xD800, 0xE000)


def _after(text: str) -> str | None:
    """The first text, by code points, after all texts with this beginning; None if there is none."""
    # The last code point has no next one.
    text = text.rstrip(chr(sys.maxunicode))
    if not text:
        return None
    following = ord(text[-1]) + 1
    return text[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


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


class Slice(NamedTuple):
    """Rows with neighbouring ids."""

    #: The last id.
    last: int
    #: When the oldest row was stored.
    oldest: datetime


def next_slice(rows: "QuerySet[Row]", after: int, size: int, stored_at: str) -> Slice | None:
    """The next rows after an id, at most `size`; None if there is none. `stored_at` is a column."""
    # The database looks for the two values: to read all rows costs as much as to remove them.
    following = rows.filter(pk__gt=after).order_by("pk")[:size]
    found = following.aggregate(last=Max("pk"), oldest=Min(stored_at))
    return None if found["last"] is None else Slice(**found)


def remove_old(
    read: Callable[[int], Slice | None],
    before: datetime,
    remove: Callable[[Q], None],
    has_budget: Callable[[], bool],
) -> bool:
    """Call `remove` for each slice with an old row, up to the first slice without one.

    `read` gives the next slice after an id. `remove` gets the condition for the slice's rows. Ids nearly
    follow the order of time. False when the budget ended first.
    """
    after = 0
    while has_budget():
        rows = read(after)
        if rows is None or rows.oldest >= before:
            return True
        remove(Q(pk__gt=after, pk__lte=rows.last))
        after = rows.last
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
    """The rows with these values in the columns. Texts are cleaned (`clean`); None matches every value."""
    given = {column: value for column, value in columns.items() if value is not None}
    return rows.filter(
        **{column: clean(value) if isinstance(value, str) else value for column, value in given.items()}
    )


# PostgreSQL stores no NUL in text, and no database driver encodes half a surrogate pair.
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without NUL, and with U+FFFD for lone surrogates, so that a database accepts the text."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
