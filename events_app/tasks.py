"""The Celery tasks of events and inbound mails."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from events_app import stream
from events_app.conf import RETENTION_DAYS
from events_app.dispatch import dispatcher, leases, results, retention, store
from events_app.dispatch.leases import Delivery, Lease
from events_app.inbound import retention as inbound_retention
from events_app.inbound import storage
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import UnfoldedCounts
from events_app.shared import counters, hourly, redis
from events_app.shared.counting import count
from events_app.shared.engine import Engine, is_first_within, log_unavailable
from events_app.shared.wakeup import Limits, wake

if TYPE_CHECKING:
    from celery import Task


logger = logging.getLogger(__name__)

#: The queues that a worker must consume: fresh events, retries, deliveries of dead workers.
EVENTS, RETRIES, RECOVERY = "sendgrid.events", "sendgrid.retries", "sendgrid.recovery"

#: The queue of inbound mails. One mail may take 30 MB of a worker's memory, several times over.
INBOUND = "sendgrid.inbound"

#: Events in one drain. A drain reads whole stream entries, so sometimes a few more.
BATCH = 1000

#: Seconds in which a drain goes on with events that came meanwhile. A wake-up for each batch would cost the
#: view, the broker and the worker's main process CPU time. After this the worker's other queues have a turn.
STAY = 1.0

#: Events in one lease of retries. After each lease the task looks for fresh events.
RETRIES_AT_ONCE = 100

#: Inbound mails in one lease. A worker parses one mail at a time.
MAILS_AT_ONCE = 20

#: Seconds without a tick of beat after which a warning is logged.
LATE = 30

#: Seconds between two looks for events at the end of their retention. Rare looks would find so much that they
#: occupy a process and the database for minutes.
PRUNE_EVERY = 60

#: Seconds between two looks for inbound mails at the end of their retention. A look goes through all files.
PRUNE_INBOUND_EVERY = 3600

#: Seconds between two folds of the counts for charts.
FOLD_EVERY = 20


def has_fresh_events() -> bool:
    """Whether a drain would find an event. Raises redis.RedisError or a database error."""
    return stream.anything_to_read(leases.lease_duration_ms()) or leases.anything_released()


def has_fresh_mails() -> bool:
    """Whether an inbound mail waits that no worker has begun. Raises a database error."""
    return leases.anything_released(INBOUND_MAILS)


def record_beat() -> None:
    """Record a tick of beat, or of a worker that has just started."""
    redis.for_workers().set(redis.key("beat"), _now())


def since_beat() -> int | None:
    """Seconds since the last tick of beat; None before the first one. Raises redis.RedisError."""
    last = cast("bytes | None", redis.for_workers().get(redis.key("beat")))
    return None if last is None else max(0, _now() - int(last))


def _report_late_beat() -> None:
    seconds = since_beat()
    if seconds is None:
        record_beat()  # a new deployment: beat is expected from now on
    elif seconds > LATE and redis.take_lock("late", 60_000):
        count(counters.TICKS_LATE)
        logger.warning(
            "No tick of beat for %d seconds: due work waits for the next task to find it. "
            "Is beat running, with events.tick in its schedule?",
            seconds,
        )


def _now() -> int:
    # By the clock of Redis, which all processes share.
    return redis.for_workers().time()[0]


engine = Engine(
    "tick",
    Limits.by_settings(leases.soft_limit, leases.hard_limit),
    results.unwritten,
    _report_late_beat,
)


@engine.task("events.drain", queue=EVENTS, is_due=has_fresh_events)
def drain() -> None:
    """Store the events of the stream and deliver them to the receivers."""
    lease = Lease()
    for deliveries in _batches(lease):
        if not dispatcher.deliver(deliveries, lease):
            wake(drain)
            break


@engine.task("events.retry", queue=RETRIES, is_due=leases.anything_to_retry)
def retry_events() -> None:
    """Retry due events until a fresh event waits; the next tick continues."""
    lease = Lease()
    while deliveries := leases.take_retries(lease, RETRIES_AT_ONCE):
        if not dispatcher.deliver(deliveries, lease) or has_fresh_events():
            break


@engine.task("events.recover", queue=RECOVERY, is_due=leases.anything_expired)
def recover_events() -> None:
    """Deliver events whose worker died. Fresh events come first; the next tick continues."""
    _recover("recover", Lease(), has_fresh_events, again=recover_events)


@engine.task(
    "events.prune",
    queue=RETRIES,
    is_due=lambda: RETENTION_DAYS.get() is not None and is_first_within("prune", PRUNE_EVERY),
)
def prune_events() -> None:
    """Remove events at the end of their retention."""
    if not retention.remove_old_events(Lease()):
        redis.release_lock("prune")  # the next tick wakes a worker for the rest


@engine.task(
    "events.fold",
    queue=RETRIES,
    is_due=lambda: UnfoldedCounts.objects.exists() and is_first_within("fold", FOLD_EVERY),
)
def fold_counts() -> None:
    """Fold the counts for charts."""
    if not hourly.fold(UnfoldedCounts, leases.events_database()):
        wake(fold_counts)


@engine.task("inbound.deliver", queue=INBOUND, is_due=has_fresh_mails)
def deliver_inbound() -> None:
    """Read new inbound mails and deliver them to the receivers."""
    lease = Lease(kind=INBOUND_MAILS)
    while deliveries := leases.take_released(lease, MAILS_AT_ONCE):
        if not dispatcher.deliver(deliveries, lease):
            wake(deliver_inbound)
            break


@engine.task("inbound.retry", queue=INBOUND, is_due=lambda: leases.anything_to_retry(INBOUND_MAILS))
def retry_inbound() -> None:
    """Retry due mails until a fresh mail waits."""
    lease = Lease(kind=INBOUND_MAILS)
    while deliveries := leases.take_retries(lease, MAILS_AT_ONCE):
        if not dispatcher.deliver(deliveries, lease) or has_fresh_mails():
            break


@engine.task("inbound.recover", queue=INBOUND, is_due=lambda: leases.anything_expired(INBOUND_MAILS))
def recover_inbound() -> None:
    """Deliver mails whose worker died. Fresh mails come first; the next tick continues."""
    _recover("inbound_recover", Lease(kind=INBOUND_MAILS), has_fresh_mails, again=recover_inbound)


@engine.task(
    "inbound.prune",
    queue=INBOUND,
    is_due=lambda: storage.is_configured() and is_first_within("inbound_prune", PRUNE_INBOUND_EVERY),
)
def prune_inbound() -> None:
    """Remove mails at the end of their retention, and files without a mail."""
    if not inbound_retention.remove_old_mails(Lease(kind=INBOUND_MAILS)):
        redis.release_lock("inbound_prune")  # the next tick wakes a worker for the rest


@engine.task("events.tick", queue=EVENTS)
def tick() -> None:
    """Record beat. The engine wakes the tasks that have work."""
    record_beat()


def _batches(lease: Lease) -> Iterator[list[Delivery]]:
    """The batches of a drain: released and fresh events, then for `STAY` the events that came meanwhile."""
    # First the events that another drain had no time for. With fresh events first these might wait for ever,
    # and the backlog would grow in the database, past its limit.
    deliveries = leases.take_released(lease, BATCH)
    entries: Sequence[stream.Entry] = ()
    with log_unavailable("Reading the stream"):
        batch = stream.read_entries(BATCH - len(deliveries), leases.lease_duration_ms())
        deliveries += _ingest(batch, lease)
        entries = batch.entries
    yield deliveries
    while entries and time.monotonic() < lease.started + STAY:
        batch = stream.read_on(BATCH)
        entries = batch.entries
        if entries:
            yield _ingest(batch, lease)


def _ingest(batch: stream.Batch, lease: Lease) -> list[Delivery]:
    deliveries = store.ingest(batch.entries, lease)
    if batch.more and stream.needs_wake_up():
        wake(drain)
    return deliveries


def _recover(lock: str, lease: Lease, yields: Callable[[], bool], again: "Task[[], object]") -> None:
    # One process at a time: expired events may be events that hang, and would hang every process at once. An
    # event that kills its process leaves the lock behind, so the lock ends with the task's hard limit.
    if redis.take_lock(lock, leases.hard_limit() * 1000):
        try:
            is_over = dispatcher.recover(lease, yields)
        finally:
            redis.release_lock(lock)
        if not is_over:
            wake(again)  # after the release: the process that answers needs the lock
