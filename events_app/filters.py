"""Finds the stored events that an operator asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from events_app.dispatch.filters import Filter, ids_without_row, with_address, with_ids
from events_app.models import RARE_TYPES, Event
from events_app.shared.addresses import for_search
from events_app.shared.database import AnyOf, IndexHint, clean, filter_columns
from events_app.shared.search import newest_ids, newest_rows


@dataclass(frozen=True, kw_only=True)
class EventCriteria(Filter):
    """A filter of events. An id is ours or SendGrid's."""

    message_id: str | None = None
    #: In any case. With a * at the end: the beginning of the address.
    address: str | None = None
    #: Any of these types.
    types: tuple[str, ...] = ()


def find_events(criteria: EventCriteria) -> "QuerySet[Event]":
    """The events that match."""
    events = criteria.apply(Event.objects.all())
    if criteria.ids:
        events = events.filter(with_ids(criteria.ids, _columns))
    if criteria.address is not None:
        events = events.filter(with_address(criteria.address, "recipient"))
    if criteria.types and set(criteria.types) <= set(RARE_TYPES):
        events = events.filter(IndexHint("event_type", RARE_TYPES))
    return filter_columns(events, message_id=criteria.message_id, event_type__in=criteria.types or None)


def search_events(term: str, *, by_part: bool) -> Q:
    """The events that a person means: by id, sg_event_id, message id, or address.

    With `by_part`, also by the beginning of an address. Up to `search.MOST` events of each kind, newest
    first. An sg_event_id is looked for among the newest events only (`search.NEWEST`): it has no index.
    """
    term = clean(term).strip()
    if not term:
        return Q(pk__in=())
    events = Event.objects.all()
    by_id = events.filter(with_ids([term], _columns))
    ids = newest_ids(by_id if _is_ours(term) else newest_rows(by_id))
    ids |= newest_ids(events.filter(message_id=term))
    ids |= newest_ids(events.filter(with_address(for_search(term, by_part), "recipient")))
    return Q(AnyOf("pk", sorted(ids)))


def missing_events(ids: Sequence[str]) -> list[str]:
    """The ids that no stored event has."""
    return ids_without_row(Event.objects.all(), ids, _columns)


def _columns(id: str) -> list[tuple[str, object]]:
    if _is_ours(id):
        return [("pk", int(id))]
    # Without an index: an index of random ids would cost each insert a page of the WAL.
    return [("event_id", clean(id)[:255])]


def _is_ours(id: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,18}", id))
