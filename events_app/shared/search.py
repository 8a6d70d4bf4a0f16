"""Searches of large tables by time and by text, bounded by ids."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django.db import connections
from django.db.models import Max, QuerySet

from events_app.shared.database import Row, filter_columns

#: Ids that a search returns. A list of the admin counts as many rows.
MOST = 10_000

#: Rows, or rows of a related table, that a search without an index looks at.
NEWEST = 100_000

#: A row with a larger id has a later time, but for this difference: a worker that died leaves older rows.
DISORDER = timedelta(hours=1)

#: Bounds of times, so that arithmetic stays in range.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

# A binary search for the first row that is late enough. SQLite allows no subquery around `bounds`.
_FIRST_ID = """
WITH RECURSIVE bounds(low, high) AS (
    SELECT MIN(id), MAX(id) + 1 FROM {table}
    UNION ALL
    SELECT CASE WHEN {is_late} THEN low ELSE (low + high) / 2 + 1 END,
        CASE WHEN {is_late} THEN (low + high) / 2 ELSE high END
    FROM bounds WHERE low < high
)
SELECT MAX(low) FROM bounds
"""
_IS_LATE = "(SELECT {column} >= %s FROM {table} WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1)"


def between(
    rows: "QuerySet[Row]", time: str, since: datetime | None, until: datetime | None
) -> "QuerySet[Row]":
    """The rows with a time of `since` or later, and before `until`. None is no bound.

    `time` is a column without an index, or such a column of a related row ("event__received_at"). The rows of
    its table were inserted in the order of the time (`DISORDER`), so that ids bound the search.
    """
    relation, _, column = time.rpartition("__")
    field: Any = rows.model._meta.get_field(relation) if relation else None
    table = field.related_model if field else rows.model
    key = relation or "pk"
    return filter_columns(
        rows,
        **{
            f"{time}__gte": since,
            f"{time}__lt": until,
            f"{key}__gte": since and _first_id(table, rows.db, column, max(since, _EARLIEST) - DISORDER),
            f"{key}__lt": until and _first_id(table, rows.db, column, min(until, _LATEST) + DISORDER),
        },
    )


def newest_rows(rows: "QuerySet[Row]") -> "QuerySet[Row]":
    """The rows with the newest ids of the table, about `NEWEST` rows."""
    last = rows.model._default_manager.using(rows.db).aggregate(last=Max("pk"))["last"] or 0
    return rows.filter(pk__gt=last - NEWEST)


def newest_ids(rows: "QuerySet[Any]", column: str = "pk") -> set[int]:
    """The newest ids of the rows, or of another column, up to `MOST`."""
    return set(rows.order_by(f"-{column}").values_list(column, flat=True)[:MOST])


def _first_id(table: Any, using: str, column: str, at: datetime) -> int | None:
    """The id at which rows become as late as `at`; None in an empty table."""
    connection = connections[using]
    names = {"table": table._meta.db_table, "column": column}
    moment = connection.ops.adapt_datetimefield_value(at)
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_ID.format(is_late=_IS_LATE.format(**names), **names), [moment, moment])
        return cast("int | None", cursor.fetchone()[0])
