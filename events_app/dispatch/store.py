"""Raw entries -> stored events. The insert is the handover.

Until its transaction commits, an entry belongs to the stream; from then on only the database knows
what is owed. A key conflict is always a repeat, whether SendGrid sent the event twice or a worker
died between the commit and the stream's delete.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, OperationalError, router, transaction
from redis import RedisError

from events_app import stream
from events_app.conf import DEDUPE_BY
from events_app.decode import Unreadable, dedupe_key, raw_key
from events_app.dispatch.kinds import Owed
from events_app.dispatch.leases import Claim, lease, lease_ms
from events_app.dispatch.results import Verdicts
from events_app.models import Event, NewEvent, Work
from events_app.normalize import read
from events_app.shared import counters
from events_app.shared.database import DatabaseAway, clean, database_now
from events_app.signals import TrackingEvent, stored
from events_app.stream import Entry, events_in

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Arrival:
    """One event on its way into the database."""

    row: NewEvent
    #: None where nothing can be handed to a receiver: the event is stored as `dead`, for this reason.
    event: TrackingEvent | None
    error: str = ""


class Stored(NamedTuple):
    """What became of some entries."""

    owed: list[Owed]
    dead: int
    duplicates: int


def take_in(entries: Sequence[Entry], claim: Claim) -> list[Owed]:
    """Move entries from the stream into the database; answer what receivers are owed now.

    Raises DatabaseAway or SoftTimeLimitExceeded once they are back in the stream, with nothing held against
    them, or redis.RedisError when that failed too; they are handed out again after the lease then.
    """
    try:
        owed = store(entries, claim).owed
    except (DatabaseAway, SoftTimeLimitExceeded):
        stream.give_back(entries, lease_ms())
        raise
    try:
        stream.done(entries)
    except RedisError as error:
        logger.warning("%d stored events stay in Redis: %s", events_in(entries), type(error).__name__)
    return owed


def store(entries: Sequence[Entry], claim: Claim) -> Stored:
    """Insert the events that are new and open their work under `claim`, in one transaction.

    Raises DatabaseAway, with nothing stored that is not also still in the stream.
    """
    if not entries:
        return Stored([], dead=0, duplicates=0)
    arrivals: dict[bytes, Arrival] = {}
    for arrival in _arrivals(entries):
        arrivals.setdefault(arrival.row.key, arrival)
    new = _insert_or_part(list(arrivals.values()), claim)
    owed = [Owed(pk, arrival.row, arrival.event) for pk, arrival in new if arrival.event]
    found = Stored(owed, dead=len(new) - len(owed), duplicates=events_in(entries) - len(new))
    counters.count(counters.DUPLICATE, found.duplicates)
    counters.count(counters.DEAD_ON_ARRIVAL, found.dead)
    return found


def _arrivals(entries: Sequence[Entry]) -> Iterator[Arrival]:
    by = DEDUPE_BY.get()
    for entry in entries:
        at, door = entry.received_at, clean(entry.door)[:32]
        for raw in entry.events:
            try:
                found, event = read(raw)
            except Unreadable as error:
                yield Arrival(NewEvent(raw_key(raw), at, door, raw), None, str(error))
                continue
            row = NewEvent(
                dedupe_key(found, by),
                at,
                door,
                raw,
                event_type=event.event_type.value,
                event_id=(event.event_id or "")[:255],
                message_id=(event.message_id or "")[:255],
                recipient=(event.recipient or "").lower()[:320],
                timestamp=event.timestamp,
            )
            yield Arrival(row, event)


def _insert_or_part(arrivals: list[Arrival], claim: Claim) -> list[tuple[int, Arrival]]:
    """Insert, and halve what the database refuses until the culprit stands alone."""
    try:
        return _insert(arrivals, claim)
    except (OperationalError, InterfaceError) as error:
        raise DatabaseAway(type(error).__name__) from error
    except (DatabaseError, ValueError) as error:
        if len(arrivals) > 1:
            half = len(arrivals) // 2
            first = _insert_or_part(arrivals[:half], claim)
            try:
                return first + _insert_or_part(arrivals[half:], claim)
            except (DatabaseAway, SoftTimeLimitExceeded):
                told = Verdicts(claim)
                told.released = [pk for pk, _ in first]
                told.close()
                raise
        return _bury(arrivals[0].row, claim, error)


def _bury(row: NewEvent, claim: Claim, refused: Exception) -> list[tuple[int, Arrival]]:
    """Store what the database refused as raw bytes alone."""
    error = f"The database refused it as it was: {type(refused).__name__}."
    bare = NewEvent(row.key, row.received_at, row.door, row.raw)
    try:
        return _insert([Arrival(bare, None, error)], claim)
    except (DatabaseError, InterfaceError, ValueError) as again:
        raise DatabaseAway(f"{type(again).__name__}, even for the bare bytes of an event") from again


def _insert(arrivals: list[Arrival], claim: Claim) -> list[tuple[int, Arrival]]:
    using = router.db_for_write(Event)
    with transaction.atomic(using=using):
        ids = Event.objects.insert_new([arrival.row for arrival in arrivals], using)
        new = [(ids[key], arrival) for arrival in arrivals if (key := arrival.row.key) in ids]
        readable = [(arrival.event, arrival.row.received_at) for _, arrival in new if arrival.event]
        now = database_now(using)
        Work.objects.using(using).bulk_create(
            Work(event_id=pk, state=Work.State.DEAD, due=now, error=arrival.error)
            for pk, arrival in new
            if not arrival.event
        )
        if readable:
            owed = [pk for pk, arrival in new if arrival.event]
            Work.objects.open(owed, claim.token, now + lease(), using)
            events, received_at = map(list, zip(*readable, strict=True))
            stored.send(None, events=events, received_at=received_at, using=using)
    return new
