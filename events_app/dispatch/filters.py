"""The states of events and inbound mails, as an operator sees them and filters by them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from itertools import chain
from operator import or_
from typing import Any, TypeAlias, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Model, Q, QuerySet, TextField, Value
from django.db.models.sql.compiler import SQLCompiler

from events_app.models import AbstractPendingDelivery
from events_app.shared.addresses import comparable, wanted_beginning
from events_app.shared.database import Row, RowFilter, StartsWith, clean
from events_app.shared.search import between


class State(StrEnum):
    """The state of an event or an inbound mail."""

    #: Not tried yet, or in its first try.
    PENDING = "pending"
    #: A receiver failed, or an operator asked for a replay.
    RETRYING = "retrying"
    #: Given up.
    DEAD_LETTER = "dead"
    #: Delivered to every receiver.
    DONE = "done"


def in_state(state: State, path: str = "pending__") -> Q:
    """The condition for a state. `path` leads from a row to its pending delivery, "" from the delivery."""

    def pending(**columns: object) -> Q:
        return Q(**{f"{path}{name}": value for name, value in columns.items()})

    match state:
        case State.PENDING:
            return pending(state=AbstractPendingDelivery.State.PENDING, failures=0, replay=False)
        case State.RETRYING:
            tried = pending(failures__gt=0) | pending(replay=True)
            return pending(state=AbstractPendingDelivery.State.PENDING) & tried
        case State.DEAD_LETTER:
            return pending(state=AbstractPendingDelivery.State.DEAD_LETTER)
        case State.DONE:
            return pending(pk__isnull=True)


def with_failed_receiver(rows: "QuerySet[Row]", name: str, path: str = "pending__") -> "QuerySet[Row]":
    """The rows in which the receiver has failed and is still pending. `path` is as in `in_state`."""
    # A receiver that has not been called yet has an empty error.
    error = _TextUnderKey(f"{path}receivers", Value(clean(name)), output_field=TextField())
    return cast("QuerySet[Row]", rows.alias(error_of_receiver=error).filter(error_of_receiver__gt=""))


@dataclass(frozen=True, kw_only=True)
class Filter(RowFilter):
    """A filter of events or inbound mails."""

    #: The name of a receiver that has failed and is still pending.
    receiver: str | None = None

    def apply(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """The rows that match. Each command looks up `ids` itself: an id has several forms."""
        if self.states:
            rows = rows.filter(reduce(or_, (in_state(State(state)) for state in self.states)))
        if self.receiver is not None:
            rows = with_failed_receiver(rows, self.receiver)
        return between(rows, "received_at", self.since, self.until)


#: The columns that may have an id, each with the value of the id there.
Columns: TypeAlias = Callable[[str], Sequence[tuple[str, object]]]


def with_ids(ids: Sequence[str], columns: Columns) -> Q:
    """The rows that have one of the ids."""
    values: dict[str, list[object]] = {}
    for column, value in chain.from_iterable(map(columns, ids)):
        values.setdefault(column, []).append(value)
    return reduce(or_, (Q(**{f"{column}__in": values[column]}) for column in values))


def with_address(address: str, *columns: str) -> Q:
    """The rows with the address in one of the columns. A * at its end: with an address that begins so."""
    address = clean(address)
    start = wanted_beginning(address)
    if start is None:
        return reduce(or_, (Q(**{column: comparable(address)}) for column in columns))
    if not start:
        return Q(pk__in=())  # a * alone must not mean every row
    return reduce(or_, (Q(StartsWith(column, start)) for column in columns))


def ids_without_row(rows: "QuerySet[Any]", ids: Sequence[str], columns: Columns) -> list[str]:
    """The ids that no row has."""
    if not ids:
        return []
    names = {name for name, _ in chain.from_iterable(map(columns, ids))}
    matching = rows.filter(with_ids(ids, columns)).values(*names)
    stored = {column for row in matching for column in row.items()}
    return [text for text in ids if stored.isdisjoint(columns(text))]


def pending_of(row: Model) -> AbstractPendingDelivery | None:
    """The pending delivery or the dead letter of the event or mail."""
    pending: AbstractPendingDelivery | None = getattr(row, "pending", None)
    return pending


def state_of(pending: AbstractPendingDelivery | None) -> State:
    """The state of an event or mail with this pending delivery."""
    if pending is None:
        return State.DONE
    if pending.state == AbstractPendingDelivery.State.DEAD_LETTER:
        return State.DEAD_LETTER
    return State.RETRYING if pending.failures or pending.replay else State.PENDING


class _TextUnderKey(Func):
    """The text under a key of a JSON object.

    Django's own lookups turn the key into a path, and miss keys that are a number or contain quotes.
    """

    function = "jsonb_extract_path_text"

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = "(SELECT value FROM json_each(%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE key = (", **context)
