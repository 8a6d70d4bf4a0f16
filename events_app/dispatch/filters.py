"""Where what came in has got to with its receivers, as an operator sees it and asks for it."""

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

from events_app.models import Owing

Row = TypeVar("Row", bound=Model)


class State(StrEnum):
    """Where an event or an inbound mail has got to."""

    #: Not tried yet, or just being tried for the first time.
    OWED = "owed"
    #: A receiver failed, or an operator asked for a replay.
    RETRYING = "retrying"
    #: Given up.
    DEAD = "dead"
    #: Nobody is owed it.
    DONE = "done"


_TRIED = Q(work__failures__gt=0) | Q(work__replay=True)

_IN_STATE = {
    State.OWED: Q(work__state=Owing.State.OWED, work__failures=0, work__replay=False),
    State.RETRYING: Q(work__state=Owing.State.OWED) & _TRIED,
    State.DEAD: Q(work__state=Owing.State.DEAD),
    State.DONE: Q(work__isnull=True),
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What an event or an inbound mail must meet, all of it; what is empty or None asks for nothing."""

    #: Any of them.
    states: tuple[str, ...] = ()
    #: The name of a receiver that has failed and is still owed it.
    receiver: str | None = None
    #: Received then or later.
    since: datetime | None = None
    #: Received before.
    until: datetime | None = None

    def asks(self) -> bool:
        """Whether it asks for anything at all."""
        return self != type(self)()

    def among(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """Those of the rows that meet it."""
        if self.states:
            rows = rows.filter(reduce(or_, (_IN_STATE[State(state)] for state in self.states)))
        if self.receiver is not None:
            # Receivers that have not been called yet stand there too, with nothing said.
            said = _Said("work__receivers", Value(self.receiver), output_field=TextField())
            rows = cast("QuerySet[Row]", rows.alias(said=said).filter(said__gt=""))
        return where(rows, received_at__gte=self.since, received_at__lt=self.until)


def where(rows: "QuerySet[Row]", **columns: object) -> "QuerySet[Row]":
    """Those of the rows whose columns are so; None asks for nothing."""
    return rows.filter(**{column: value for column, value in columns.items() if value is not None})


def any_of(wanted: Sequence[tuple[str, object]]) -> Q:
    """The rows that have one of these values, each in the column it comes with."""
    columns: dict[str, list[object]] = {}
    for column, value in wanted:
        columns.setdefault(column, []).append(value)
    return reduce(or_, (Q(**{f"{column}__in": values}) for column, values in columns.items()))


def work_of(row: Model) -> Owing | None:
    """What is still owed or given up for the event or mail."""
    found: Owing | None = getattr(row, "work", None)
    return found


def state_of(work: Owing | None) -> State:
    """The state of what has this work."""
    if work is None:
        return State.DONE
    if work.state == Owing.State.DEAD:
        return State.DEAD
    return State.RETRYING if work.failures or work.replay else State.OWED


class _Said(Func):
    """The text under a key of a JSON object, whatever the key is made of.

    Django's own lookups make a path of it, and miss keys that are a number or have quotes in them.
    """

    function = "jsonb_extract_path_text"

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = "(SELECT value FROM json_each(%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE key = (", **context)
