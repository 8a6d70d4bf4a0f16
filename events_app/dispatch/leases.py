"""Leases: the right of one worker to call the receivers of an event or inbound mail, for a limited time.

A lease is a token in the rows of pending deliveries, and an end by the database's clock. Until then no second
worker calls the receivers. A worker only updates rows with its own token, so a worker frozen past the end of
its lease changes nothing.

A pending delivery waits in a lane. Released: no receiver has failed; a drain takes the delivery. To be
retried: a receiver failed, or an operator asked for a replay. Expired: the worker is gone.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, cast

from django.db import router, transaction
from django.db.models import Manager, Q, QuerySet

from events_app.conf import RECEIVER_TIME_LIMIT
from events_app.dispatch import dead_letters
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.models import LEASED, PENDING, RELEASED, TO_RETRY, AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.counting import count
from events_app.shared.database import AnyOf, database_now, sql_now

#: Seconds a task calls receivers before it leaves the rest to the next task.
BUDGET = 20

#: Worker deaths during an event's deliveries, each time alone, before the event becomes a dead letter.
MOST_WORKER_DEATHS = 5

#: The token of an orphaned delivery. A worker recovers it alone, like an expired lease, but counts no worker
#: death.
ORPHANED = 0


def soft_limit() -> int:
    """Seconds until Celery interrupts a task: a receiver called at the budget's end still has its time."""
    return BUDGET + RECEIVER_TIME_LIMIT.get()


def hard_limit() -> int:
    """Seconds until Celery kills a task's process."""
    return soft_limit() + 10


def lease_duration() -> timedelta:
    """The duration of a lease: longer than the life of any process working under the lease."""
    return timedelta(seconds=hard_limit() + 30)


def lease_duration_ms() -> int:
    """`lease_duration` in milliseconds, for Redis and PostgreSQL."""
    return int(lease_duration().total_seconds() * 1000)


@dataclass(frozen=True)
class Lease:
    """The right of a task to the rows it takes. Create it before reading rows: the lease starts now."""

    token: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    started: float = field(default_factory=time.monotonic)
    kind: Kind = EVENTS
    #: Seconds; computed once, because the dispatcher calls `is_held` before each event.
    lasts: float = field(default_factory=lambda: lease_duration().total_seconds())

    def has_budget(self) -> bool:
        return time.monotonic() < self.started + BUDGET

    def is_held(self) -> bool:
        return time.monotonic() < self.started + self.lasts


class Delivery(NamedTuple):
    """A pending delivery leased by a worker."""

    pk: int
    #: The stored `Event` (a `NewEvent` just after it was stored) or `InboundMail`.
    row: Any
    #: The object for the first receiver; None until the row is read.
    event: Any = None
    failures: int = 0
    worker_deaths: int = 0
    replay: bool = False
    #: As in `AbstractPendingDelivery`.
    receivers: Mapping[str, str] = {}
    #: Of the span that the receivers' spans belong to. Empty: the receivers get no spans.
    traceparent: str = ""
    #: Of the span that sent the event's mail. Known only to the worker that stores the event.
    sent_by: str = ""

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        return self.failures + self.worker_deaths + 1

    @property
    def webhook(self) -> str:
        webhook: str = self.row.webhook
        return webhook

    def log_fields(self, kind: Kind) -> dict[str, object]:
        """The fields of a log line about the delivery. The Message-ID of an inbound mail is a stranger's."""
        ids = {} if kind is not EVENTS else {"event_id": self.row.event_id, "message_id": self.row.message_id}
        return {kind.log_field: self.pk, **ids}


def leased(pks: Sequence[int], lease: Lease) -> "QuerySet[AbstractPendingDelivery]":
    """The rows of these ids still under the lease."""
    # Not "state is pending": PostgreSQL could then use the index of leased deliveries. Before the first
    # ANALYZE it does, and reads an entry for each delivery that is done since the last vacuum.
    rows = pending_rows(lease.kind).exclude(state=AbstractPendingDelivery.State.DEAD_LETTER)
    return rows.filter(AnyOf("pk", sorted(pks)), lease=lease.token)


def take_released(lease: Lease, limit: int) -> list[Delivery]:
    """Lease up to `limit` released deliveries."""
    return _take(RELEASED, "pk", lease, limit)


def take_retries(lease: Lease, limit: int) -> list[Delivery]:
    """Lease up to `limit` deliveries due for a retry, the longest due first."""
    return _take(TO_RETRY, "due", lease, limit)


def take_expired(lease: Lease) -> Delivery | None:
    """Lease one expired or orphaned delivery. Deliveries with too many worker deaths become dead letters.

    The worker death is counted before the receivers are called. An event that kills its worker is alone
    then, and becomes a dead letter without harm to its neighbours.
    """
    while True:
        with transaction.atomic(using=events_database()):
            expired = _due(LEASED, lease.kind).order_by("due").select_for_update(skip_locked=True).first()
            if expired is None:
                return None
            row = pending_rows(lease.kind).filter(pk=expired.pk)
            if expired.lease == ORPHANED or expired.worker_deaths < MOST_WORKER_DEATHS:
                row.update(
                    lease=lease.token,
                    due=database_now(events_database()) + lease_duration(),
                    worker_deaths=expired.worker_deaths + (expired.lease != ORPHANED),
                )
                if taken := _load([expired.pk], lease.kind):
                    break
                row.delete()  # somebody has deleted the event
                continue
            why = f"its worker died or overran its time, {expired.worker_deaths + 1} times"
            row.update(state=PendingDelivery.State.DEAD_LETTER, lease=None, error=f"Given up: {why}.")
            dead_letters.report(lease.kind, expired.pk, why, events_database())
        count(counters.DEAD_LETTERS, "worker_died")
    count(counters.EVENTS_RECOVERED)
    return taken[0]


def anything_released(kind: Kind = EVENTS) -> bool:
    """Whether `take_released` would find a delivery."""
    return _due(RELEASED, kind).exists()


def anything_to_retry(kind: Kind = EVENTS) -> bool:
    """Whether `take_retries` would find a delivery."""
    return _due(TO_RETRY, kind).exists()


def anything_expired(kind: Kind = EVENTS) -> bool:
    """Whether `take_expired` would find a delivery."""
    return _due(LEASED, kind).exists()


def pending_rows(kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    """The pending deliveries and the dead letters of this kind."""
    manager: Manager[AbstractPendingDelivery] = kind.pending_model._default_manager
    return manager.using(events_database())


def stored_rows(kind: Kind) -> "QuerySet[Any]":
    """The stored rows of this kind, whether a delivery is pending or not."""
    model: Any = kind.pending_model._meta.get_field(kind.pending_model.ROW_FIELD).related_model
    return cast("QuerySet[Any]", model._default_manager.using(events_database()))


def events_database() -> str:
    """The database of the pending deliveries and the stored rows."""
    return router.db_for_write(PendingDelivery)


def _pending(kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return pending_rows(kind).filter(PENDING)


def _due(lane: Q, kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return _pending(kind).filter(lane, due__lte=sql_now(events_database()))


def _take(lane: Q, order: str, lease: Lease, limit: int) -> list[Delivery]:
    due = _due(lane, lease.kind)
    # Most tasks find nothing. A look costs less than a transaction.
    return take(due.order_by(order), lease, limit) if limit and due.exists() else []


def take(free: "QuerySet[AbstractPendingDelivery]", lease: Lease, limit: int | None = None) -> list[Delivery]:
    """Lease up to `limit` of these pending deliveries, which no worker has."""
    with transaction.atomic(using=events_database()):
        locked = free.select_for_update(skip_locked=True)
        pks = list(locked.values_list("pk", flat=True)[:limit])
        if pks:
            due = database_now(events_database()) + lease_duration()
            pending_rows(lease.kind).filter(AnyOf("pk", sorted(pks))).update(lease=lease.token, due=due)
    return _load(pks, lease.kind)


def _load(pks: Sequence[int], kind: Kind) -> list[Delivery]:
    row_field = kind.pending_model.ROW_FIELD
    return [
        Delivery(
            pending.pk,
            getattr(pending, row_field),
            failures=pending.failures,
            worker_deaths=pending.worker_deaths,
            replay=pending.replay,
            receivers=pending.receivers,
            traceparent=pending.traceparent,
        )
        for pending in pending_rows(kind).filter(AnyOf("pk", pks)).select_related(row_field).order_by("pk")
    ]
