"""Who may call the receivers of an event or an inbound mail, and for how long.

A lease is a token in the rows of pending deliveries, and a time by the database's clock: while it lasts
nobody else calls these receivers. A worker writes on the rows that still bear its lease's token, so a worker
that was frozen past its lease can spoil nothing.

Pending deliveries wait in one of three lanes: released (none has failed; a drain takes it), to be
retried (a receiver failed, or an operator asked for a replay), expired (its worker is gone).
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
from events_app.dispatch.kinds import EVENTS, Delivery, Kind
from events_app.models import LEASED, PENDING, RELEASED, TO_RETRY, AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import AnyOf, database_now

#: Seconds a task calls receivers before it leaves the rest to the next one.
BUDGET = 20

#: Workers an event may take down with it, each time alone, before it is given up.
MOST_WORKER_DEATHS = 5

#: The token of an orphaned delivery: taken up alone, as a dead worker's is, without counting a worker death.
ORPHANED = 0


def soft_limit() -> int:
    """Seconds after which a task is interrupted: a receiver begun at the budget's end has its time."""
    return BUDGET + RECEIVER_TIME_LIMIT.get()


def hard_limit() -> int:
    """Seconds after which a task's process is killed."""
    return soft_limit() + 10


def lease_duration() -> timedelta:
    """How long a lease lasts: longer than any process that works under it can live."""
    return timedelta(seconds=hard_limit() + 30)


def lease_duration_ms() -> int:
    """The same for Redis and PostgreSQL."""
    return int(lease_duration().total_seconds() * 1000)


@dataclass(frozen=True)
class Lease:
    """One task's right to the rows it takes. Create it before reading rows: the lease starts now."""

    token: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    started: float = field(default_factory=time.monotonic)
    kind: Kind = EVENTS
    #: Seconds; read once, for it is asked before each event whether the lease is held.
    lasts: float = field(default_factory=lambda: lease_duration().total_seconds())

    def has_budget(self) -> bool:
        return time.monotonic() < self.started + BUDGET

    def is_held(self) -> bool:
        return time.monotonic() < self.started + self.lasts


def leased(pks: Sequence[int], lease: Lease) -> "QuerySet[AbstractPendingDelivery]":
    """Those rows that still bear the lease."""
    return _pending(lease.kind).filter(AnyOf("pk", sorted(pks)), lease=lease.token)


def take_released(lease: Lease, limit: int) -> list[Delivery]:
    """Take up to `limit` events that no worker has begun, or that a budget's end left over."""
    return _take(RELEASED, "pk", lease, limit)


def take_retries(lease: Lease, limit: int) -> list[Delivery]:
    """Take up to `limit` events that are to be tried again now, those first that are due longest."""
    return _take(TO_RETRY, "due", lease, limit)


def take_expired(lease: Lease) -> Delivery | None:
    """Take one event whose worker is gone; give up those that have taken too many with them.

    The worker's death is counted before the receivers are called: an event that takes its worker down
    does so alone, and becomes a dead letter without harm to the others.
    """
    while True:
        with transaction.atomic(using=_using()):
            expired = _due(LEASED, lease.kind).order_by("due").select_for_update(skip_locked=True).first()
            if expired is None:
                return None
            row = _pending(lease.kind).filter(pk=expired.pk)
            if expired.lease == ORPHANED or expired.worker_deaths < MOST_WORKER_DEATHS:
                worker_deaths = expired.worker_deaths + (expired.lease != ORPHANED)
                row.update(
                    lease=lease.token,
                    due=database_now(_using()) + lease_duration(),
                    worker_deaths=worker_deaths,
                )
                break
            error = f"Given up: its worker died or overran its time, {expired.worker_deaths + 1} times."
            row.update(state=PendingDelivery.State.DEAD_LETTER, lease=None, error=error)
        counters.count(counters.WORKER_DIED)
    counters.count(counters.RECOVERED)
    return _load([expired.pk], lease.kind)[0]


def anything_released(kind: Kind = EVENTS) -> bool:
    """Whether `take_released` would find any."""
    return _due(RELEASED, kind).exists()


def anything_to_retry(kind: Kind = EVENTS) -> bool:
    """Whether `take_retries` would find any."""
    return _due(TO_RETRY, kind).exists()


def anything_expired(kind: Kind = EVENTS) -> bool:
    """Whether `take_expired` would find any."""
    return _due(LEASED, kind).exists()


def pending_rows(kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    """The pending deliveries and the dead letters of this kind."""
    manager: Manager[AbstractPendingDelivery] = kind.pending_model._default_manager
    return manager.using(_using())


def stored_rows(kind: Kind) -> "QuerySet[Any]":
    """All stored rows of this kind, pending or not."""
    model: Any = kind.pending_model._meta.get_field(kind.pending_model.ROW_FIELD).related_model
    found: QuerySet[Any] = model._default_manager.using(_using())
    return found


def _using() -> str:
    return router.db_for_write(PendingDelivery)


def _pending(kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return pending_rows(kind).filter(PENDING)


def _due(lane: Q, kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return _pending(kind).filter(lane, due__lte=database_now(_using()))


def _take(lane: Q, order: str, lease: Lease, limit: int) -> list[Delivery]:
    if limit == 0:
        return []
    with transaction.atomic(using=_using()):
        free = _due(lane, lease.kind).order_by(order).select_for_update(skip_locked=True)
        pks = list(free.values_list("pk", flat=True)[:limit])
        if pks:
            due = database_now(_using()) + lease_duration()
            _pending(lease.kind).filter(AnyOf("pk", sorted(pks))).update(lease=lease.token, due=due)
    return _load(pks, lease.kind)


def _load(pks: Sequence[int], kind: Kind) -> list[Delivery]:
    of = kind.pending_model.ROW_FIELD
    found = pending_rows(kind).filter(AnyOf("pk", pks)).select_related(of).order_by("pk")
    return [
        Delivery(
            pending.pk,
            getattr(pending, of),
            failures=pending.failures,
            worker_deaths=pending.worker_deaths,
            replay=pending.replay,
            receivers=pending.receivers,
        )
        for pending in found
    ]
