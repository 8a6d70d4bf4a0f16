"""The Celery tasks of events and inbound mail, and the tick, which finds work that no worker is doing.

The tick is the answer to every lost message and every dead worker. Beat asks for it each few seconds, and
every drain asks too, so a missing beat only makes it slower.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from redis import RedisError

from events_app import stream
from events_app.conf import RETENTION_DAYS
from events_app.dispatch import dispatcher, leases, results, retention, store
from events_app.dispatch.leases import Lease
from events_app.inbound import retention as inbound_retention
from events_app.inbound import storage
from events_app.inbound.store import INBOUND_MAILS
from events_app.shared import counters, redis, wakeup
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.wakeup import Limits, wake

if TYPE_CHECKING:
    from celery import Task


logger = logging.getLogger(__name__)

#: The queues a worker is to consume: fresh events, what is tried again, what a dead worker left.
EVENTS, RETRIES, RECOVERY = "sendgrid.events", "sendgrid.retries", "sendgrid.recovery"

#: Inbound mails: one may be 30 MB in a worker's memory, several times over.
INBOUND = "sendgrid.inbound"

#: Events one drain takes; whole entries, so at times some more.
BATCH = 1000

#: Events that are tried again in one go, before fresh ones are looked for.
RETRIES_AT_ONCE = 100

#: Inbound mails a worker leases at once. It reads one at a time.
MAILS_AT_ONCE = 20

_LIMITS = Limits(leases.soft_limit(), leases.hard_limit())

#: Seconds between two ticks, whoever asks.
INTERVAL = 5

#: Seconds without a tick of beat's after which whoever asks says so.
LATE = 30

#: Seconds between two looks for what is at the end of their retention.
PRUNE_EVERY = 3600


@wakeup.task("events.drain", queue=EVENTS, limits=_LIMITS)
def drain() -> None:
    """Store what waits in the stream and hand it to the receivers."""
    with _task("drain"):
        lease = Lease()
        # First what another drain had no time for: were fresh events first, these might never be
        # next, and the backlog would grow in the database, past its limit.
        deliveries = leases.take_released(lease, BATCH)
        with _log_unavailable("the stream"):
            entries, more = stream.read(BATCH - len(deliveries), leases.lease_duration_ms())
            deliveries += store.ingest(entries, lease)
            if more:
                wake(drain)
        if not dispatcher.deliver(deliveries, lease):
            wake(drain)
        _wake_for_due_work()


@wakeup.task("events.retry", queue=RETRIES, limits=_LIMITS)
def retry() -> None:
    """Try again what is due, for as long as no fresh event waits; the next tick goes on."""
    with _task("retry"):
        lease = Lease()
        while deliveries := leases.take_retries(lease, RETRIES_AT_ONCE):
            if not dispatcher.deliver(deliveries, lease) or has_fresh_events():
                break
        _wake_for_due_work()


@wakeup.task("events.recover", queue=RECOVERY, limits=_LIMITS)
def recover() -> None:
    """Take over events whose worker died with them; fresh events come first, and the next tick goes on."""
    with _task("recover"):
        _recover("recover", Lease(), has_fresh_events, again=recover)


@wakeup.task("events.prune", queue=RETRIES, limits=_LIMITS)
def prune() -> None:
    """Remove events at the end of their retention."""
    with _task("prune"):
        if not retention.prune(Lease()):
            wake(prune)


@wakeup.task("inbound.deliver", queue=INBOUND, limits=_LIMITS)
def deliver_inbound() -> None:
    """Read the mails that have come in and hand them to the receivers."""
    with _task("inbound.deliver"):
        lease = Lease(kind=INBOUND_MAILS)
        while deliveries := leases.take_released(lease, MAILS_AT_ONCE):
            if not dispatcher.deliver(deliveries, lease):
                wake(deliver_inbound)
                break
        _wake_for_due_work()


@wakeup.task("inbound.retry", queue=INBOUND, limits=_LIMITS)
def retry_inbound() -> None:
    """Try mails again that are due, for as long as no fresh one waits."""
    with _task("inbound.retry"):
        lease = Lease(kind=INBOUND_MAILS)
        while deliveries := leases.take_retries(lease, MAILS_AT_ONCE):
            if not dispatcher.deliver(deliveries, lease) or has_fresh_mails():
                break
        _wake_for_due_work()


@wakeup.task("inbound.recover", queue=INBOUND, limits=_LIMITS)
def recover_inbound() -> None:
    """Take over mails whose worker died with them; fresh mails come first, and the next tick goes on."""
    with _task("inbound.recover"):
        _recover("inbound_recover", Lease(kind=INBOUND_MAILS), has_fresh_mails, again=recover_inbound)


@wakeup.task("inbound.prune", queue=INBOUND, limits=_LIMITS)
def prune_inbound() -> None:
    """Remove mails at the end of their retention, and files that belong to none."""
    with _task("inbound.prune"):
        if not inbound_retention.prune(Lease(kind=INBOUND_MAILS)):
            wake(prune_inbound)


@wakeup.task("events.tick", queue=EVENTS, limits=_LIMITS)
def tick() -> None:
    """Wake a worker for everything that waits without a wake-up."""
    with _task("tick"):
        record_beat()
        _wake_for_due_work()


def _recover(lock: str, lease: Lease, yields: Callable[[], bool], again: "Task[[], object]") -> None:
    # One process of all: expired events may be those that hang, and would hold every process at once. An
    # event that kills its process leaves the lock, which therefore ends with the task's hard limit.
    if redis.take_lock(lock, leases.hard_limit() * 1000):
        try:
            is_over = dispatcher.recover(lease, yields)
        finally:
            redis.release_lock(lock)
        if not is_over:
            wake(again)  # not before: the process that answers needs the lock


def _wake_for_due_work() -> None:
    due = find_due()
    wakes: tuple[tuple[bool, Task[[], object]], ...] = (
        (due.drain, drain),
        (due.retry, retry),
        (due.recover, recover),
        (due.prune, prune),
        (due.inbound, deliver_inbound),
        (due.inbound_retry, retry_inbound),
        (due.inbound_recover, recover_inbound),
        (due.inbound_prune, prune_inbound),
    )
    for is_due, task in wakes:
        if is_due:
            wake(task)


@contextmanager
def _task(name: str) -> Iterator[None]:
    try:
        with _log_unavailable(name):
            # A connection that broke under an earlier task: Celery's fixup keeps it for many.
            close_old_connections()
            results.write_unwritten()
            yield
    except SoftTimeLimitExceeded:
        # The limit may have struck in mid statement. psycopg cancels that for KeyboardInterrupt and
        # SystemExit alone (psycopg.Connection.wait), and no later statement could run on the connection.
        connections.close_all()
        logger.warning("Left %s at its time limit, to be taken up again", name)


@contextmanager
def _log_unavailable(what: str) -> Iterator[None]:
    # Redis or the database away is no error of a task: nothing is lost, the next tick goes on.
    try:
        yield
    except (RedisError, DatabaseError, InterfaceError, DatabaseUnavailable) as away:
        # The first line: a database's further lines may quote values.
        why = f"{type(away).__name__}: {away}".partition("\n")[0][:200]
        logger.warning("Left %s, to be taken up again: %s", what, why)
        close_old_connections()  # who uses the connection next is to find one that works


class Due(NamedTuple):
    """Which tasks need a wake-up."""

    drain: bool = False
    retry: bool = False
    recover: bool = False
    prune: bool = False
    inbound: bool = False
    inbound_retry: bool = False
    inbound_recover: bool = False
    inbound_prune: bool = False


def find_due() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises redis.RedisError or a database error when either is away.
    """
    if not redis.take_lock("tick", INTERVAL * 1000 - 500):
        return Due()
    _report_late_beat()
    return Due(
        drain=has_fresh_events(),
        retry=leases.anything_to_retry(),
        recover=leases.anything_expired(),
        prune=RETENTION_DAYS.get() is not None and redis.take_lock("prune", PRUNE_EVERY * 1000),
        inbound=has_fresh_mails(),
        inbound_retry=leases.anything_to_retry(INBOUND_MAILS),
        inbound_recover=leases.anything_expired(INBOUND_MAILS),
        inbound_prune=storage.is_configured() and redis.take_lock("inbound_prune", PRUNE_EVERY * 1000),
    )


def has_fresh_events() -> bool:
    """Whether a drain would find an event. Raises redis.RedisError or a database error."""
    return stream.anything_to_read(leases.lease_duration_ms()) or leases.anything_released()


def has_fresh_mails() -> bool:
    """Whether there is an inbound mail that no worker has begun. Raises a database error."""
    return leases.anything_released(INBOUND_MAILS)


def record_beat() -> None:
    """This tick is one of beat's, or of a worker that has just started."""
    redis.for_workers().set(redis.key("beat"), _now())


def since_beat() -> int | None:
    """Seconds since beat's last tick came; None where none has ever come. Raises redis.RedisError."""
    last = cast("bytes | None", redis.for_workers().get(redis.key("beat")))
    return None if last is None else max(0, _now() - int(last))


def _report_late_beat() -> None:
    late = since_beat()
    if late is None:
        record_beat()  # a new deployment: from here on it is expected
    elif late > LATE and redis.take_lock("late", 60_000):
        counters.count(counters.TICK_LATE)
        logger.warning(
            "No tick of beat's for %d seconds: work that is due waits for the next drain to find it. "
            "Is beat running, with events.tick in its schedule?",
            late,
        )


def _now() -> int:
    # By the clock of Redis, which all processes share.
    return redis.for_workers().time()[0]
