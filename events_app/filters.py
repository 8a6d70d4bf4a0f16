"""Which events an operator means: criteria, and the stored events that meet all of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import QuerySet

from events_app.conf import DEDUPE_BY
from events_app.decode import dedupe_key
from events_app.dispatch.filters import Filter, any_of, filter_columns
from events_app.models import Event
from events_app.shared.database import clean


@dataclass(frozen=True, kw_only=True)
class Criteria(Filter):
    """What an event must meet, all of it; what is empty or None asks for nothing."""

    #: Our ids or SendGrid's, any of them.
    ids: tuple[str, ...] = ()
    message_id: str | None = None
    #: In whatever case.
    address: str | None = None
    #: Any of them.
    types: tuple[str, ...] = ()


def find(criteria: Criteria) -> "QuerySet[Event]":
    """The events that meet the criteria."""
    events = criteria.apply(_events())
    if criteria.ids:
        events = events.filter(any_of([*map(_column, criteria.ids)]))
    return filter_columns(
        events,
        message_id=criteria.message_id,
        recipient=None if criteria.address is None else criteria.address.lower(),
        event_type__in=criteria.types or None,
    )


def missing(ids: Sequence[str]) -> list[str]:
    """Those ids that no stored event has."""
    rows = _events().filter(any_of([*map(_column, ids)])).values("pk", "key", "event_id") if ids else ()
    there: set[tuple[str, object]] = set()
    for row in rows:
        there |= {("pk", row["pk"]), ("key", bytes(row["key"])), ("event_id", row["event_id"])}
    return [one for one in ids if _column(one) not in there]


def _events() -> "QuerySet[Event]":
    return Event.objects.using(router.db_for_write(Event))


def _column(id: str) -> tuple[str, object]:
    """Where an id stands, and what stands there."""
    if re.fullmatch(r"[0-9]{1,18}", id):
        return "pk", int(id)
    if DEDUPE_BY.get() == "content":
        return "event_id", clean(id)[:255]  # no index has it: this may take a while
    return "key", dedupe_key({"sg_event_id": id})
