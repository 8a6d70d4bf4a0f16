"""Counts stored events for charts: by type, by the reason of a bounce, and by the recipient's domain."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from django.db import transaction

from events_app.conf import RETENTION_DAYS
from events_app.decode import Unreadable
from events_app.dispatch.leases import events_database
from events_app.models import Event, HourlyCount, UnfoldedCounts
from events_app.models.hourly import BOUNCE_REASONS, DOMAINS_BOUNCED, DOMAINS_DELIVERED, EVENTS
from events_app.normalize import read_event
from events_app.shared.database import database_now, lock_writes, use_one_snapshot
from events_app.shared.hourly import (
    EARLIEST,
    LATEST,
    OTHER,
    Counts,
    Series,
    fold_locked,
    hour_of,
    replace,
    start_of,
)
from events_app.signals import EventType, TrackingEvent

#: Events that a recount reads at once.
SLICE = 10_000

_SERIES = (EVENTS, BOUNCE_REASONS, DOMAINS_DELIVERED, DOMAINS_BOUNCED)

#: Types of the events that have a reason.
_WITH_REASON = (EventType.BOUNCED, EventType.REJECTED)

# A mail server's answer may quote an address. Neither of these can hold one.
_CLASSIFICATION = re.compile(r"[A-Za-z][A-Za-z /]{0,39}")
_STATUS = re.compile(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?!\.?\d)")

#: The series of domains, by the type of the event.
_DOMAINS: Mapping[str, Series] = {
    EventType.DELIVERED: DOMAINS_DELIVERED,
    EventType.BOUNCED: DOMAINS_BOUNCED,
}

# The end of an address.
_TAIL = re.compile(r"@([\w.-]+)")


#: An event, as far as charts count it: type, timestamp, arrival, recipient, and `reason_of` the event.
#: A plain tuple, since each drain makes a thousand.
Countable: TypeAlias = tuple[str, datetime | None, datetime, str, str]


def reason_of(event: TrackingEvent | None) -> str:
    """The reason of a bounce or a drop, with SendGrid's class or the status code of the answer.

    Empty for other events. Without addresses.
    """
    if event is None or event.event_type not in _WITH_REASON:
        return ""
    reason = str(event.reject_reason)
    if event.event_type == EventType.REJECTED:
        return f"dropped: {reason}"
    classification = event.esp_event.get("bounce_classification")
    if isinstance(classification, str) and _CLASSIFICATION.fullmatch(classification):
        return f"{reason}: {classification.lower()}"
    status = _STATUS.search(f"{event.esp_event.get('status')} {event.mta_response}")
    return f"{reason}: {status[0]}" if status else reason


def count_events(events: Iterable[Countable]) -> Counts:
    """The counts of these events in their hours.

    An event counts in the hour of its own timestamp, unless that is far from its arrival.
    """
    counts: Counts = Counter()
    for (event_type, hour, tail, reason), number in Counter(_keys(events)).items():
        counts[EVENTS.name, hour, event_type] += number
        if domains := _DOMAINS.get(event_type):
            domain = _TAIL.fullmatch(tail)
            counts[domains.name, hour, domain[1] if domain else OTHER] += number
        if reason:
            counts[BOUNCE_REASONS.name, hour, reason] += number
    return counts


def _keys(events: Iterable[Countable]) -> Iterator[tuple[str, int, str, str]]:
    """For every event: type, hour, the tail of the address if the domain counts, and reason."""
    # `hour_near`, written out: called for each event, it takes most of the time.
    arrival = earliest = latest = start = end = datetime.min.replace(tzinfo=UTC)
    hour_of_arrival = own_hour = 0
    for event_type, timestamp, received_at, recipient, reason in events:
        if received_at is not arrival:
            arrival, hour_of_arrival = received_at, hour_of(received_at)
            earliest, latest = arrival + EARLIEST, arrival + LATEST
        if timestamp is None or not earliest <= timestamp <= latest:
            hour = hour_of_arrival
        else:
            # Most events of a post are of one hour.
            if not start <= timestamp < end:
                own_hour = hour_of(timestamp)
                start, end = start_of(own_hour), start_of(own_hour + 1)
            hour = own_hour
        tail = recipient[recipient.rfind("@") :] if event_type in _DOMAINS else ""
        yield event_type, hour, tail, reason


def count_stored(using: str) -> Counts:
    """The counts of all stored events."""
    counts: Counts = Counter()
    for events in _stored(using):
        counts.update(count_events(events))
    return counts


def recount() -> int:
    """Replace the counts by those of the stored events, and return the number of these.

    Hours keep their counts if retention may have removed some of their events. Workers go on storing events.
    Raises a database error.
    """
    using = events_database()
    with transaction.atomic(using=using):
        use_one_snapshot(using)
        lock_writes(HourlyCount, using)
        while not fold_locked(UnfoldedCounts, using):
            pass
        counts = count_stored(using)
        names = [series.name for series in _SERIES]
        replace(UnfoldedCounts, names, _first_complete_hour(using), counts, using)
    return sum(number for (name, _, _), number in counts.items() if name == EVENTS.name)


def _first_complete_hour(using: str) -> int:
    """The first hour of which no event can have been removed."""
    oldest = database_now(using)
    first = Event.objects.using(using).order_by("pk").values_list("received_at", flat=True).first()
    if first:
        days = RETENTION_DAYS.get()
        oldest = first if days is None else max(first, oldest - timedelta(days=days))
    return hour_of(oldest + LATEST) + 1


def _stored(using: str) -> Iterator[list[Countable]]:
    events = Event.objects.using(using).order_by("pk")
    columns = events.values_list("pk", "event_type", "timestamp", "received_at", "recipient")
    last = 0
    while rows := list(columns.filter(pk__gt=last)[:SLICE]):
        bounces = events.filter(pk__gt=last, pk__lte=rows[-1][0], event_type__in=_WITH_REASON)
        reasons = {pk: _reason_in(bytes(raw)) for pk, raw in bounces.values_list("pk", "raw")}
        yield [
            (event_type, timestamp, received_at, recipient, reasons.get(pk, ""))
            for pk, event_type, timestamp, received_at, recipient in rows
        ]
        last = rows[-1][0]


def _reason_in(raw: bytes) -> str:
    try:
        _, event = read_event(raw)
    except Unreadable:  # by this version
        return ""
    return reason_of(event)
