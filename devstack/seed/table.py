"""Inserts many rows at once: by COPY on PostgreSQL, by a prepared statement on SQLite."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.core.management.color import no_style
from django.db import connections, models


class Table:
    """Collects rows of a model. Columns that the rows lack get the default of their field."""

    def __init__(self, model: type[models.Model], using: str, columns: Sequence[str]) -> None:
        self.model, self.columns = model, columns
        self.connection = connections[using]
        self.rows: list[tuple[Any, ...]] = []
        self.written = 0
        others = [field for field in model._meta.concrete_fields if field.attname not in columns]
        self._defaults = {
            field.attname: field.get_db_prep_save(field.get_default(), self.connection)
            for field in others
            if not field.primary_key
        }
        last = model._default_manager.using(using).aggregate(last=models.Max("pk"))["last"]
        self._last_id = last if isinstance(last, int) else 0

    def next_id(self) -> int:
        """The primary key of the next row."""
        self._last_id += 1
        return self._last_id

    def add(self, *row: Any) -> None:
        """Add a row: a value for each column, times as text (`timestamp`)."""
        self.rows.append(row)

    def write(self) -> None:
        """Insert the collected rows. Raises the database's errors."""
        names = ", ".join([*self.columns, *self._defaults])
        rest = tuple(self._defaults.values())
        table = self.model._meta.db_table
        with self.connection.cursor() as cursor:
            if self.connection.vendor == "postgresql":
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in self.rows:
                        copy.write_row(row + rest)
            elif self.rows:
                places = ", ".join(["%s"] * (len(self.columns) + len(rest)))
                cursor.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({places})", [row + rest for row in self.rows]
                )
        self.written += len(self.rows)
        self.rows.clear()

    def reset_sequence(self) -> None:
        """Let the next insert without an id follow the last row."""
        with self.connection.cursor() as cursor:
            for statement in self.connection.ops.sequence_reset_sql(no_style(), [self.model]):
                cursor.execute(statement)


def timestamp(seconds: float | None) -> str | None:
    """A Unix time as both databases read it in UTC."""
    if seconds is None:
        return None
    minute, second = divmod(seconds, 60)
    return f"{_minute(minute)}{second:09.6f}"


@lru_cache(maxsize=100_000)
def _minute(minute: float) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%d %H:%M:}"
