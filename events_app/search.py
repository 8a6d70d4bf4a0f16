"""Which events an operator means: criteria, and the stored events that meet all of them."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Q, QuerySet, TextField, Value
from django.db.models.sql.compiler import SQLCompiler

from events_app.conf import DEDUPE_BY
from events_app.decode import clean, dedupe_key
from events_app.models import Event, Work


class State(StrEnum):
    """Where an event has got to, as an operator sees it."""

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
    State.OWED: Q(work__state=Work.State.OWED, work__failures=0, work__replay=False),
    State.RETRYING: Q(work__state=Work.State.OWED) & _TRIED,
    State.DEAD: Q(work__state=Work.State.DEAD),
    State.DONE: Q(work__isnull=True),
}


@dataclass(frozen=True)
class Criteria:
    """What an event must meet, all of it; what is empty or None asks for nothing."""

    #: Our ids or SendGrid's, any of them.
    ids: tuple[str, ...] = ()
    message_id: str | None = None
    #: In whatever case.
    address: str | None = None
    #: Any of them.
    states: tuple[str, ...] = ()
    #: Any of them.
    types: tuple[str, ...] = ()
    #: The name of a receiver that has failed and is still owed the event.
    receiver: str | None = None
    #: Received then or later.
    since: datetime | None = None
    #: Received before.
    until: datetime | None = None


def find(criteria: Criteria) -> "QuerySet[Event]":
    """The events that meet the criteria."""
    events = _events()
    if criteria.ids:
        events = events.filter(_by_id(criteria.ids))
    if criteria.states:
        events = events.filter(reduce(or_, (_IN_STATE[State(state)] for state in criteria.states)))
    if criteria.receiver is not None:
        # Receivers that have not been called yet stand there too, with nothing said.
        said = _Said("work__receivers", Value(criteria.receiver), output_field=TextField())
        events = events.alias(said=said).filter(said__gt="")
    address = criteria.address
    columns: dict[str, object] = {
        "message_id": criteria.message_id,
        "recipient": None if address is None else address.lower(),
        "event_type__in": criteria.types or None,
        "received_at__gte": criteria.since,
        "received_at__lt": criteria.until,
    }
    return events.filter(**{column: value for column, value in columns.items() if value is not None})


def missing(ids: Sequence[str]) -> list[str]:
    """Those ids that no stored event has."""
    rows = _events().filter(_by_id(ids)).values("pk", "key", "event_id") if ids else ()
    there: set[tuple[str, object]] = set()
    for row in rows:
        there |= {("pk", row["pk"]), ("key", bytes(row["key"])), ("event_id", row["event_id"])}
    return [one for one in ids if _column(one) not in there]


def work_of(event: Event) -> Work | None:
    """What is still owed or given up for the event."""
    found: Work | None = getattr(event, "work", None)
    return found


def state_of(work: Work | None) -> State:
    """The state of an event with this work."""
    if work is None:
        return State.DONE
    if work.state == Work.State.DEAD:
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


def _events() -> "QuerySet[Event]":
    return Event.objects.using(router.db_for_write(Event))


def _by_id(ids: Sequence[str]) -> Q:
    wanted: defaultdict[str, list[Any]] = defaultdict(list)
    for column, value in map(_column, ids):
        wanted[column].append(value)
    return reduce(or_, (Q(**{f"{column}__in": values}) for column, values in wanted.items()))


def _column(id: str) -> tuple[str, object]:
    """Where an id stands, and what stands there."""
    if re.fullmatch(r"[0-9]{1,18}", id):
        return "pk", int(id)
    if DEDUPE_BY.get() == "content":
        return "event_id", clean(id)[:255]  # no index has it: this may take a while
    return "key", dedupe_key({"sg_event_id": id})
