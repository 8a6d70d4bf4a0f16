"""Rows whose column has one of many values, given to the database as one parameter."""

import json
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Field, Func
from django.db.models.sql.compiler import SQLCompiler


class Among(Func):
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
