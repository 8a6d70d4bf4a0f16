"""Many rows, a slice at a time, so that memory holds however many there are."""

from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Model, QuerySet

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
