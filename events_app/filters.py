"""Finds the stored events that an operator asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import QuerySet

from events_app.conf import DEDUPE_BY
from events_app.decode import dedupe_key
from events_app.dispatch.filters import Filter, ids_without_row, with_ids
from events_app.models import Event
from events_app.shared.addresses import comparable
from events_app.shared.database import clean, filter_columns


@dataclass(frozen=True, kw_only=True)
class EventCriteria(Filter):
    """A filter of events. An id is ours or SendGrid's."""

    message_id: str | None = None
    #: In any case.
    address: str | None = None
    #: Any of these types.
    types: tuple[str, ...] = ()


def find_events(criteria: EventCriteria) -> "QuerySet[Event]":
    """The events that match."""
    events = criteria.apply(_events())
    if criteria.ids:
        events = events.filter(with_ids(criteria.ids, _columns))
    return filter_columns(
        events,
        message_id=criteria.message_id,
        recipient=None if criteria.address is None else comparable(criteria.address),
        event_type__in=criteria.types or None,
    )


def missing_events(ids: Sequence[str]) -> list[str]:
    """The ids that no stored event has."""
    return ids_without_row(_events(), ids, _columns)


def _events() -> "QuerySet[Event]":
    # The database of the workers: a replica may lag.
    return Event.objects.using(router.db_for_write(Event))


def _columns(id: str) -> list[tuple[str, object]]:
    if re.fullmatch(r"[0-9]{1,18}", id):
        return [("pk", int(id))]
    if DEDUPE_BY.get() == "content":
        return [("event_id", clean(id)[:255])]  # without an index: this may take a while
    return [("key", dedupe_key({"sg_event_id": id}))]
