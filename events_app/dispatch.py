"""Stored events -> receivers. Who may call them, for how long, and what becomes of the event then.

A claim is a token in the work rows and a lease by the database's clock: while it lasts nobody else
calls these events' receivers. Everything a claim writes it writes on the rows that still bear its
token, so a worker that was frozen past its lease can spoil nothing.
"""

import logging
import secrets
import time
import traceback
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, router, transaction
from django.db.models import QuerySet

from events_app import counters
from events_app.conf import RECEIVER_TIME_LIMIT
from events_app.decode import clean, decode
from events_app.models import Work, database_now
from events_app.normalize import normalize
from events_app.signals import ESP_NAME, NamedReceiver, TrackingEvent, doors, tracking

logger = logging.getLogger(__name__)

#: Seconds a drain or a recovery calls receivers before it leaves the rest to the next one.
BUDGET = 20

#: Workers an event may take down with it, each time alone, before it is given up.
MOST_DEATHS = 5

#: Characters of tracebacks a work row keeps, the last ones.
_MOST_ERROR = 20_000


def soft_limit() -> int:
    """Seconds after which a task is interrupted: a receiver begun at the budget's end has its time."""
    return BUDGET + RECEIVER_TIME_LIMIT.get()


def hard_limit() -> int:
    """Seconds after which a task's process is killed."""
    return soft_limit() + 10


def lease() -> timedelta:
    """How long a claim lasts: longer than any process that works under it can live."""
    return timedelta(seconds=hard_limit() + 30)


def lease_ms() -> int:
    """The same for Redis."""
    return int(lease().total_seconds() * 1000)


class Owed(NamedTuple):
    """One stored event that receivers are owed."""

    pk: int
    raw: bytes
    door: str
    event: TrackingEvent


@dataclass(frozen=True)
class Claim:
    """One task's right to the rows it takes. Make it before they are read: its time runs from here."""

    token: int = field(default_factory=lambda: secrets.randbits(63))
    started: float = field(default_factory=time.monotonic)

    def has_budget(self) -> bool:
        return time.monotonic() < self.started + BUDGET

    def is_held(self) -> bool:
        return time.monotonic() < self.started + lease().total_seconds()


def deliver(owed: Sequence[Owed], claim: Claim) -> bool:
    """Call each event's receivers. False when the budget ended first; the rest is released then.

    The first event is begun whatever the budget says, so that every call of this gets somewhere.
    """
    done = _Done(claim)
    receivers = {door: tracking.named_receivers(doors.get(door)) for door in {item.door for item in owed}}
    begun = 0
    try:
        for item in owed:
            if (begun and not claim.has_budget()) or not claim.is_held():
                break
            begun += 1
            done.flush_when_due()
            errors = _call_receivers(item, receivers[item.door])
            if not errors:
                done.pks.append(item.pk)
            else:
                _bury(item.pk, claim, errors)
    finally:
        done.flush()
        _release(owed[begun:], claim)
    counters.count(counters.NO_RECEIVER, sum(not receivers[item.door] for item in owed[:begun]))
    return begun == len(owed)


def claim_released(claim: Claim, limit: int) -> list[Owed]:
    """Take up to `limit` events that nobody has begun."""
    if limit == 0:
        return []
    using = router.db_for_write(Work)
    with transaction.atomic(using=using):
        now = database_now(using)
        free = _owed(using).filter(attempts=0, due__lte=now).order_by("pk")
        pks = list(free.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        if pks:
            _owed(using).filter(pk__in=pks).update(claim=claim.token, due=now + lease(), attempts=1)
    return _load(pks, using)


def recover(claim: Claim) -> bool:
    """Take over events whose lease has lapsed, one at a time. False when the budget ended first.

    The attempt is counted before the receivers are called: an event that takes its worker down
    does so alone, and runs out of attempts without harm to the others.
    """
    while claim.has_budget():
        pk = _claim_lapsed(claim)
        if pk is None:
            return True
        deliver(_load([pk], router.db_for_write(Work)), claim)
    return False


def anything_released() -> bool:
    """Whether `claim_released` would find work."""
    using = router.db_for_write(Work)
    return _owed(using).filter(attempts=0, due__lte=database_now(using)).exists()


def anything_lapsed() -> bool:
    """Whether `recover` would find work."""
    using = router.db_for_write(Work)
    return _owed(using).filter(attempts__gt=0, due__lte=database_now(using)).exists()


class _Done:
    """Marks work done, a batch a second: what a dead worker had done and not marked is done again."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.pks: list[int] = []
        self.flushed = time.monotonic()

    def flush_when_due(self) -> None:
        """Before a call, not after it: that one may take long, or be the worker's last."""
        if time.monotonic() > self.flushed + 1:
            self.flush()

    def flush(self) -> None:
        self.flushed = time.monotonic()
        if not self.pks:
            return
        try:
            _claimed(self.pks, self.claim).delete()
            self.pks = []
        except (DatabaseError, InterfaceError) as error:
            # The pks stay for the next flush. Where none comes, the lease lapses and these
            # receivers are called once more.
            logger.warning("Could not mark %d events done: %s", len(self.pks), type(error).__name__)


def _call_receivers(item: Owed, receivers: Sequence[NamedReceiver]) -> dict[str, str]:
    """The traceback of each receiver that raised, by the receiver's name."""
    errors: dict[str, str] = {}
    for receiver, event in zip(receivers, _copies(item), strict=False):
        error = _call(receiver, doors.get(item.door), event)
        if error:
            errors[receiver.name] = error
            # What a receiver says of its error may hold an address; the work row keeps it.
            logger.error("Receiver %s failed on event %d", receiver.name, item.pk)
    counters.count(counters.RECEIVER_FAILED, len(errors))
    return errors


def _copies(item: Owed) -> Iterator[TrackingEvent]:
    """The event, a fresh one for each receiver: normalizing again costs less than a deep copy."""
    yield item.event
    while True:
        yield normalize(decode(item.raw))


def _call(receiver: NamedReceiver, sender: type | None, event: TrackingEvent) -> str:
    try:
        receiver.call(signal=tracking, sender=sender, event=event, esp_name=ESP_NAME)
    except (Exception, CancelledError, SystemExit):  # noqa: BLE001 (a receiver may raise anything)
        return traceback.format_exc()
    return ""


def _owed(using: str) -> "QuerySet[Work]":
    return Work.objects.using(using).filter(state=Work.State.OWED)


def _claimed(pks: Sequence[int], claim: Claim) -> "QuerySet[Work]":
    using = router.db_for_write(Work)
    return _owed(using).filter(pk__in=sorted(pks), claim=claim.token)


def _bury(pk: int, claim: Claim, errors: dict[str, str]) -> None:
    error = clean("\n".join(errors.values()))[-_MOST_ERROR:]
    _claimed([pk], claim).update(state=Work.State.DEAD, claim=None, failed=list(errors), error=error)


def _release(owed: Sequence[Owed], claim: Claim) -> None:
    if owed and claim.is_held():
        now = database_now(router.db_for_write(Work))
        _claimed([item.pk for item in owed], claim).update(claim=None, due=now, attempts=0)


def _claim_lapsed(claim: Claim) -> int | None:
    using = router.db_for_write(Work)
    while True:
        now = database_now(using)
        lapsed = _owed(using).filter(attempts__gt=0, due__lte=now).order_by("due").first()
        if lapsed is None:
            return None
        mine = _owed(using).filter(pk=lapsed.pk, claim=lapsed.claim, due=lapsed.due)
        if lapsed.attempts > MOST_DEATHS:
            error = f"Its worker died or overran its time, {lapsed.attempts} times."
            counters.count(counters.WORKER_DIED, mine.update(state=Work.State.DEAD, claim=None, error=error))
        elif mine.update(claim=claim.token, due=now + lease(), attempts=lapsed.attempts + 1):
            counters.count(counters.RECOVERED)
            return lapsed.event_id


def _load(pks: Sequence[int], using: str) -> list[Owed]:
    found = Work.objects.using(using).filter(pk__in=pks).select_related("event").order_by("pk")
    return [
        Owed(work.pk, raw, work.event.door, normalize(decode(raw)))
        for work in found
        for raw in [bytes(work.event.raw)]
    ]
