"""Who may call an event's receivers, and for how long.

A claim is a token in the work rows and a lease by the database's clock: while it lasts nobody else
calls these events' receivers. Everything a claim writes it writes on the rows that still bear its
token, so a worker that was frozen past its lease can spoil nothing.

Owed work waits in one of three lanes: released (nobody has failed at it; a drain takes it), to be
retried (a receiver failed, or an operator asked for a replay), lapsed (its worker is gone).
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from django.db import router, transaction
from django.db.models import Q, QuerySet

from events_app import counters
from events_app.conf import RECEIVER_TIME_LIMIT
from events_app.models import CLAIMED, OWED, RELEASED, TO_RETRY, Work, database_now
from events_app.signals import TrackingEvent

#: Seconds a task calls receivers before it leaves the rest to the next one.
BUDGET = 20

#: Workers an event may take down with it, each time alone, before it is given up.
MOST_DEATHS = 5

#: The token of nobody: work that bears it is taken up alone, as a dead worker's is, and nothing counts.
NOBODY = 0


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
    """The same for Redis and PostgreSQL."""
    return int(lease().total_seconds() * 1000)


class Owed(NamedTuple):
    """One stored event that receivers are owed."""

    pk: int
    raw: bytes
    door: str
    #: None until somebody reads `raw`.
    event: TrackingEvent | None = None
    failures: int = 0
    lapses: int = 0
    replay: bool = False
    #: As in `Work`.
    receivers: Mapping[str, str] = {}


@dataclass(frozen=True)
class Claim:
    """One task's right to the rows it takes. Make it before they are read: its time runs from here."""

    token: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    started: float = field(default_factory=time.monotonic)

    def has_budget(self) -> bool:
        return time.monotonic() < self.started + BUDGET

    def is_held(self) -> bool:
        return time.monotonic() < self.started + lease().total_seconds()


def claimed(pks: Sequence[int], claim: Claim) -> "QuerySet[Work]":
    """Those rows that still bear the claim."""
    return _owed().filter(pk__in=sorted(pks), claim=claim.token)


def take_released(claim: Claim, limit: int) -> list[Owed]:
    """Take up to `limit` events that nobody has begun, or that a budget's end left over."""
    return _take(RELEASED, "pk", claim, limit)


def take_retries(claim: Claim, limit: int) -> list[Owed]:
    """Take up to `limit` events that are to be tried again now, those first that are due longest."""
    return _take(TO_RETRY, "due", claim, limit)


def take_lapsed(claim: Claim) -> Owed | None:
    """Take one event whose worker is gone; give up those that have taken too many with them.

    The lapse is counted before the receivers are called: an event that takes its worker down
    does so alone, and runs out of lives without harm to the others.
    """
    while True:
        with transaction.atomic(using=_using()):
            lapsed = _due(CLAIMED).order_by("due").select_for_update(skip_locked=True).first()
            if lapsed is None:
                return None
            row = _owed().filter(pk=lapsed.pk)
            if lapsed.claim == NOBODY or lapsed.lapses < MOST_DEATHS:
                lapses = lapsed.lapses + (lapsed.claim != NOBODY)
                row.update(claim=claim.token, due=database_now(_using()) + lease(), lapses=lapses)
                break
            error = f"Given up: its worker died or overran its time, {lapsed.lapses + 1} times."
            row.update(state=Work.State.DEAD, claim=None, error=error)
        counters.count(counters.WORKER_DIED)
    counters.count(counters.RECOVERED)
    return _load([lapsed.pk])[0]


def anything_released() -> bool:
    """Whether `take_released` would find work."""
    return _due(RELEASED).exists()


def anything_to_retry() -> bool:
    """Whether `take_retries` would find work."""
    return _due(TO_RETRY).exists()


def anything_lapsed() -> bool:
    """Whether `take_lapsed` would find work."""
    return _due(CLAIMED).exists()


def _using() -> str:
    return router.db_for_write(Work)


def _owed() -> "QuerySet[Work]":
    return Work.objects.using(_using()).filter(OWED)


def _due(lane: Q) -> "QuerySet[Work]":
    return _owed().filter(lane, due__lte=database_now(_using()))


def _take(lane: Q, order: str, claim: Claim, limit: int) -> list[Owed]:
    if limit == 0:
        return []
    with transaction.atomic(using=_using()):
        free = _due(lane).order_by(order).select_for_update(skip_locked=True)
        pks = list(free.values_list("pk", flat=True)[:limit])
        if pks:
            due = database_now(_using()) + lease()
            _owed().filter(pk__in=sorted(pks)).update(claim=claim.token, due=due)
    return _load(pks)


def _load(pks: Sequence[int]) -> list[Owed]:
    found = Work.objects.using(_using()).filter(pk__in=pks).select_related("event").order_by("pk")
    return [
        Owed(
            work.pk,
            bytes(work.event.raw),
            work.event.door,
            failures=work.failures,
            lapses=work.lapses,
            replay=work.replay,
            receivers=work.receivers,
        )
        for work in found
    ]
