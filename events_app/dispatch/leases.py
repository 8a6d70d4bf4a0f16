"""Who may call the receivers of an event or an inbound mail, and for how long.

A claim is a token in the work rows and a lease by the database's clock: while it lasts nobody else
calls these receivers. Everything a claim writes it writes on the rows that still bear its
token, so a worker that was frozen past its lease can spoil nothing.

Owed work waits in one of three lanes: released (nobody has failed at it; a drain takes it), to be
retried (a receiver failed, or an operator asked for a replay), lapsed (its worker is gone).
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import Manager, Q, QuerySet

from events_app.conf import RECEIVER_TIME_LIMIT
from events_app.dispatch.kinds import EVENTS, Kind, Owed
from events_app.models import CLAIMED, OWED, RELEASED, TO_RETRY, Owing, Work
from events_app.shared import counters
from events_app.shared.database import Among, database_now

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


@dataclass(frozen=True)
class Claim:
    """One task's right to the rows it takes. Make it before they are read: its time runs from here."""

    token: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    started: float = field(default_factory=time.monotonic)
    kind: Kind = EVENTS
    #: Seconds; read once, for it is asked before each event whether the claim is held.
    lasts: float = field(default_factory=lambda: lease().total_seconds())

    def has_budget(self) -> bool:
        return time.monotonic() < self.started + BUDGET

    def is_held(self) -> bool:
        return time.monotonic() < self.started + self.lasts


def claimed(pks: Sequence[int], claim: Claim) -> "QuerySet[Owing]":
    """Those rows that still bear the claim."""
    return _owed(claim.kind).filter(Among("pk", sorted(pks)), claim=claim.token)


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
            lapsed = _due(CLAIMED, claim.kind).order_by("due").select_for_update(skip_locked=True).first()
            if lapsed is None:
                return None
            row = _owed(claim.kind).filter(pk=lapsed.pk)
            if lapsed.claim == NOBODY or lapsed.lapses < MOST_DEATHS:
                lapses = lapsed.lapses + (lapsed.claim != NOBODY)
                row.update(claim=claim.token, due=database_now(_using()) + lease(), lapses=lapses)
                break
            error = f"Given up: its worker died or overran its time, {lapsed.lapses + 1} times."
            row.update(state=Work.State.DEAD, claim=None, error=error)
        counters.count(counters.WORKER_DIED)
    counters.count(counters.RECOVERED)
    return _load([lapsed.pk], claim.kind)[0]


def anything_released(kind: Kind = EVENTS) -> bool:
    """Whether `take_released` would find work."""
    return _due(RELEASED, kind).exists()


def anything_to_retry(kind: Kind = EVENTS) -> bool:
    """Whether `take_retries` would find work."""
    return _due(TO_RETRY, kind).exists()


def anything_lapsed(kind: Kind = EVENTS) -> bool:
    """Whether `take_lapsed` would find work."""
    return _due(CLAIMED, kind).exists()


def rows(kind: Kind) -> "QuerySet[Owing]":
    """What is owed of this kind, and what has been given up."""
    manager: Manager[Owing] = kind.work._default_manager
    return manager.using(_using())


def kept(kind: Kind) -> "QuerySet[Any]":
    """What has come in of this kind, be it owed or not."""
    model: Any = kind.work._meta.get_field(kind.work.OF).related_model
    found: QuerySet[Any] = model._default_manager.using(_using())
    return found


def _using() -> str:
    return router.db_for_write(Work)


def _owed(kind: Kind) -> "QuerySet[Owing]":
    return rows(kind).filter(OWED)


def _due(lane: Q, kind: Kind) -> "QuerySet[Owing]":
    return _owed(kind).filter(lane, due__lte=database_now(_using()))


def _take(lane: Q, order: str, claim: Claim, limit: int) -> list[Owed]:
    if limit == 0:
        return []
    with transaction.atomic(using=_using()):
        free = _due(lane, claim.kind).order_by(order).select_for_update(skip_locked=True)
        pks = list(free.values_list("pk", flat=True)[:limit])
        if pks:
            due = database_now(_using()) + lease()
            _owed(claim.kind).filter(Among("pk", sorted(pks))).update(claim=claim.token, due=due)
    return _load(pks, claim.kind)


def _load(pks: Sequence[int], kind: Kind) -> list[Owed]:
    of = kind.work.OF
    found = rows(kind).filter(Among("pk", pks)).select_related(of).order_by("pk")
    return [
        Owed(
            work.pk,
            getattr(work, of),
            failures=work.failures,
            lapses=work.lapses,
            replay=work.replay,
            receivers=work.receivers,
        )
        for work in found
    ]
