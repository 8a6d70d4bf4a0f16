"""How far the delivery of events and inbound mails has got, as an operator sees it and filters by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any, TypeVar, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Model, Q, QuerySet, TextField, Value
from django.db.models.sql.compiler import SQLCompiler

from events_app.models import AbstractPendingDelivery

Row = TypeVar("Row", bound=Model)


class State(StrEnum):
    """Where an event or an inbound mail has got to."""

    #: Not tried yet, or just being tried for the first time.
    PENDING = "pending"
    #: A receiver failed, or an operator asked for a replay.
    RETRYING = "retrying"
    #: Given up: a dead letter.
    DEAD_LETTER = "dead"
    #: Delivered to every receiver.
    DONE = "done"


_TRIED = Q(pending__failures__gt=0) | Q(pending__replay=True)

_IN_STATE = {
    State.PENDING: Q(
        pending__state=AbstractPendingDelivery.State.PENDING, pending__failures=0, pending__replay=False
    ),
    State.RETRYING: Q(pending__state=AbstractPendingDelivery.State.PENDING) & _TRIED,
    State.DEAD_LETTER: Q(pending__state=AbstractPendingDelivery.State.DEAD_LETTER),
    State.DONE: Q(pending__isnull=True),
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What an event or an inbound mail must meet, all of it; an empty field or None matches every row."""

    #: Any of them.
    states: tuple[str, ...] = ()
    #: The name of a receiver that has failed and is still pending.
    receiver: str | None = None
    #: Received then or later.
    since: datetime | None = None
    #: Received before.
    until: datetime | None = None

    def is_empty(self) -> bool:
        """Whether every row matches."""
        return self == type(self)()

    def apply(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """Those of the rows that meet it."""
        if self.states:
            rows = rows.filter(reduce(or_, (_IN_STATE[State(state)] for state in self.states)))
        if self.receiver is not None:
            # Receivers that have not been called yet stand there too, with nothing said.
            said = _TextUnderKey("pending__receivers", Value(self.receiver), output_field=TextField())
            rows = cast("QuerySet[Row]", rows.alias(said=said).filter(said__gt=""))
        return filter_columns(rows, received_at__gte=self.since, received_at__lt=self.until)


def filter_columns(rows: "QuerySet[Row]", **columns: object) -> "QuerySet[Row]":
    """Those of the rows whose columns are so; None asks for nothing."""
    return rows.filter(**{column: value for column, value in columns.items() if value is not None})


def any_of(wanted: Sequence[tuple[str, object]]) -> Q:
    """The rows that have one of these values, each in the column it comes with."""
    columns: dict[str, list[object]] = {}
    for column, value in wanted:
        columns.setdefault(column, []).append(value)
    return reduce(or_, (Q(**{f"{column}__in": values}) for column, values in columns.items()))


def pending_of(row: Model) -> AbstractPendingDelivery | None:
    """The pending delivery or the dead letter of the event or mail."""
    found: AbstractPendingDelivery | None = getattr(row, "pending", None)
    return found


def state_of(pending: AbstractPendingDelivery | None) -> State:
    """The state of an event or mail with this pending delivery."""
    if pending is None:
        return State.DONE
    if pending.state == AbstractPendingDelivery.State.DEAD_LETTER:
        return State.DEAD_LETTER
    return State.RETRYING if pending.failures or pending.replay else State.PENDING


class _TextUnderKey(Func):
    """The text under a key of a JSON object, whatever the key is made of.

    Django's own lookups make a path of it, and miss keys that are a number or have quotes in them.
    """

    function = "jsonb_extract_path_text"

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = "(SELECT value FROM json_each(%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE key = (", **context)
