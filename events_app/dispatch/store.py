"""Raw entries from the stream -> stored events with pending deliveries.

Until the insert commits, an entry belongs to the stream; afterwards only the database knows the pending
deliveries. A key conflict is always a duplicate: SendGrid sent the event twice, or a worker died between the
commit and the delete in the stream.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, cast

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, OperationalError, router, transaction
from redis import RedisError

from events_app import sql, stream
from events_app.conf import DEDUPE_BY
from events_app.decode import Unreadable, dedupe_key, raw_key
from events_app.dispatch import dead_letters
from events_app.dispatch.duplicates import notice_changed_ids, notice_reused_ids
from events_app.dispatch.erased import about_erased, unwanted_keys, without_keys, without_person
from events_app.dispatch.event_counts import Countable, count_events, reason_of
from events_app.dispatch.kinds import EVENTS
from events_app.dispatch.leases import Delivery, Lease, lease_duration, lease_duration_ms
from events_app.dispatch.results import ResultBuffer
from events_app.models import Event, NewEvent, PendingDelivery, UnfoldedCounts
from events_app.normalize import read_event
from events_app.shared import counters, hourly, tracing
from events_app.shared.addresses import comparable
from events_app.shared.counting import count
from events_app.shared.database import DatabaseUnavailable, clean, sql_now
from events_app.shared.personal_data.person import Person
from events_app.signals import TrackingEvent, stored
from events_app.stream import Entry, events_in

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Arrival:
    """An event before the insert."""

    row: NewEvent
    #: None for an unreadable event, stored as a dead letter with this error.
    event: TrackingEvent | None
    error: str = ""
    #: Of the span that stores the event's post, if the post's span was sampled.
    traceparent: str = ""
    #: Of the span that sent the event's mail, if both spans are sampled.
    sent_by: str = ""


class Stored(NamedTuple):
    """The result of `store`."""

    deliveries: list[Delivery]
    dead_letters: int
    duplicates: int


def ingest(entries: Sequence[Entry], lease: Lease) -> list[Delivery]:
    """Move entries from the stream into the database; return the deliveries to make now.

    Raises DatabaseUnavailable or SoftTimeLimitExceeded after releasing the entries in the stream, or
    redis.RedisError when the release failed too: the stream then hands the entries out after the lease.
    """
    try:
        deliveries = store(entries, lease).deliveries
    except (DatabaseUnavailable, SoftTimeLimitExceeded):
        stream.release_entries(entries, lease_duration_ms())
        raise
    try:
        stream.delete_entries(entries)
    except RedisError as error:
        logger.warning("%d stored events stay in Redis: %s", events_in(entries), type(error).__name__)
    return deliveries


def store(entries: Sequence[Entry], lease: Lease) -> Stored:
    """Insert new events, and their pending deliveries under `lease`, in one transaction.

    Raises DatabaseUnavailable; every entry is still in the stream then.
    """
    if not entries:
        return Stored([], dead_letters=0, duplicates=0)
    arrivals: dict[bytes, Arrival] = {}
    with _spans(entries) as traceparents:
        all_arrivals = list(_arrivals(entries, traceparents))
        try:
            _pseudonymise(all_arrivals)
        except (DatabaseError, InterfaceError) as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        duplicate_rows = [
            arrival.row
            for arrival in all_arrivals
            if arrivals.setdefault(arrival.row.key, arrival) is not arrival
        ]
        new = _insert_or_split(list(arrivals.values()), lease)
    deliveries = [
        Delivery(pk, arrival.row, arrival.event, traceparent=arrival.traceparent, sent_by=arrival.sent_by)
        for pk, arrival in new
        if arrival.event
    ]
    dead_letters, duplicates = len(new) - len(deliveries), events_in(entries) - len(new)
    count(counters.EVENTS_DUPLICATE, by=duplicates)
    count(counters.DEAD_LETTERS, "unreadable", by=dead_letters)
    _count_stored(arrival for _, arrival in new)
    for _, arrival in new:
        del arrivals[arrival.row.key]
    duplicate_rows += [arrival.row for arrival in arrivals.values()]
    notice_reused_ids(duplicate_rows, router.db_for_write(Event))
    notice_changed_ids(arrival.event for _, arrival in new if arrival.event)
    return Stored(deliveries, dead_letters, duplicates)


def store_for_any_worker(entry: Entry) -> None:
    """Insert new events, and their pending deliveries without a lease, in the current transaction.

    Raises database errors, and stores nothing then.
    """
    using = router.db_for_write(Event)
    arrivals = {arrival.row.key: arrival for arrival in _arrivals([entry])}
    _pseudonymise(arrivals.values())
    new = [arrival for _, arrival in _insert(list(arrivals.values()), lease=None)]
    transaction.on_commit(lambda: _count_stored(new), using=using, robust=True)


def _count_stored(new: Iterable[Arrival]) -> None:
    for event_type, number in Counter(arrival.row.event_type for arrival in new).items():
        count(counters.EVENTS_STORED, event_type, by=number)


@contextmanager
def _spans(entries: Sequence[Entry]) -> Iterator[dict[str, str]]:
    """A span for each post whose own span was sampled: the `traceparent`s, by the post's."""
    sampled = Counter[str]()
    for entry in entries:
        if entry.traceparent:
            sampled[entry.traceparent] += len(entry.events)
    with ExitStack() as spans:
        traceparents = {}
        for traceparent, count in sampled.items():
            attributes: tracing.Attributes = {
                "messaging.system": "sendgrid",
                "messaging.batch.message_count": count,
            }
            span = tracing.resume(traceparent, "store events", "CONSUMER", attributes)
            traceparents[traceparent] = spans.enter_context(span).traceparent
        yield traceparents


def _arrivals(entries: Sequence[Entry], traceparents: Mapping[str, str] = {}) -> Iterator[Arrival]:
    by, unwanted = DEDUPE_BY.get(), unwanted_keys()
    for entry in entries:
        traceparent = traceparents.get(entry.traceparent, "")
        received_at, webhook = entry.received_at, clean(entry.webhook)[:32]
        for raw in entry.events:
            try:
                fields, event = read_event(raw)
            except Unreadable as error:
                yield Arrival(NewEvent(raw_key(raw), received_at, webhook, raw), None, str(error))
                continue
            key = dedupe_key(fields, by)  # of the event as SendGrid posts it again
            if unwanted:
                raw = without_keys(raw, unwanted)  # noqa: PLW2901 (the posted bytes must go no further)
                _, event = read_event(raw)
            row = NewEvent(
                key,
                received_at,
                webhook,
                raw,
                event_type=event.event_type.value,
                event_id=(event.event_id or "")[:255],
                message_id=(event.message_id or "")[:255],
                recipient=comparable(event.recipient or "")[:320],
                timestamp=event.timestamp,
            )
            yield Arrival(row, event, traceparent=traceparent)


def _pseudonymise(arrivals: Collection[Arrival]) -> None:
    """Take erased persons out of events about their earlier mails. Raises database errors."""
    mails = {(arrival.row.recipient, arrival.row.message_id) for arrival in arrivals if arrival.event}
    erased = about_erased(mails, router.db_for_write(Event))
    for arrival in arrivals if erased else ():
        row = arrival.row
        if (row.recipient, row.message_id) in erased:
            person = Person(row.recipient)
            row.raw, row.recipient = without_person(row.raw, person), person.pseudonym
            _, arrival.event = read_event(row.raw)


def _insert_or_split(arrivals: list[Arrival], lease: Lease) -> list[tuple[int, Arrival]]:
    """Insert; halve a batch refused by the database until the refused event is alone.

    A refused event is stored as a dead letter, with its raw bytes only.
    """
    try:
        return _insert(arrivals, lease)
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    except (DatabaseError, ValueError) as error:
        refusal = type(error).__name__
    if len(arrivals) > 1:
        half = len(arrivals) // 2
        first = _insert_or_split(arrivals[:half], lease)
        try:
            return first + _insert_or_split(arrivals[half:], lease)
        except (DatabaseUnavailable, SoftTimeLimitExceeded):
            buffer = ResultBuffer(lease)
            buffer.released = [pk for pk, _ in first]
            buffer.close()
            raise
    refused = arrivals[0].row
    raw_only = NewEvent(refused.key, refused.received_at, refused.webhook, refused.raw)
    error_text = f"The database refused the event's columns: {refusal}."
    try:
        return _insert([Arrival(raw_only, None, error_text)], lease)
    except (DatabaseError, InterfaceError, ValueError) as error:
        raise DatabaseUnavailable(f"{type(error).__name__}, even for an event's raw bytes alone") from error


def _insert(arrivals: list[Arrival], lease: Lease | None) -> list[tuple[int, Arrival]]:
    using = router.db_for_write(Event)
    with transaction.atomic(using=using):
        ids = sql.insert_new_events([arrival.row for arrival in arrivals], using)
        new = [(ids[key], arrival) for arrival in arrivals if (key := arrival.row.key) in ids]
        hourly.record_counts(UnfoldedCounts, count_events([_countable(arrival) for _, arrival in new]), using)
        readable = [(arrival.event, arrival.row.received_at) for _, arrival in new if arrival.event]
        PendingDelivery.objects.using(using).bulk_create(
            PendingDelivery(
                event_id=pk, state=PendingDelivery.State.DEAD_LETTER, due=sql_now(using), error=arrival.error
            )
            for pk, arrival in new
            if not arrival.event
        )
        for pk, arrival in new:
            if not arrival.event:
                dead_letters.report(EVENTS, pk, "it cannot be read", using)
        if readable:
            deliveries = [pk for pk, arrival in new if arrival.event]
            traced = {pk: arrival for pk, arrival in new if arrival.traceparent}
            traceparents = {pk: arrival.traceparent for pk, arrival in traced.items()}
            token, lasts = (lease.token, lease_duration()) if lease else (None, timedelta())
            sql.insert_deliveries(deliveries, token, lasts, using, traceparents)
            events, received_at = map(list, zip(*readable, strict=True))
            answers = stored.send(None, events=events, received_at=received_at, using=using)
            if traced:
                sent_by: dict[str, str] = {}
                for _, answer in answers:
                    sent_by |= cast("dict[str, str] | None", answer) or {}
                for arrival in traced.values():
                    arrival.sent_by = sent_by.get(arrival.row.message_id, "")
    return new


def _countable(arrival: Arrival) -> Countable:
    row = arrival.row
    return row.event_type, row.timestamp, row.received_at, row.recipient, reason_of(arrival.event)
