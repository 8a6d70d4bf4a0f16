"""The Celery tasks of events and inbound mail, and the tick, which finds the work that nobody is at.

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
from events_app.dispatch.leases import Claim
from events_app.inbound import retention as inbound_retention
from events_app.inbound import storage
from events_app.inbound.store import MAILS
from events_app.shared import counters, redis, wakeup
from events_app.shared.database import DatabaseAway
from events_app.shared.wakeup import Limits, ring

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

#: Inbound mails a worker claims at once. It reads one at a time.
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
        claim = Claim()
        # First what another drain had no time for: were fresh events first, these might never be
        # next, and the backlog would grow in the database, past its limit.
        owed = leases.take_released(claim, BATCH)
        with _quiet_while_away("the stream"):
            entries, more = stream.read(BATCH - len(owed), leases.lease_ms())
            owed += store.take_in(entries, claim)
            if more:
                ring(drain)
        if not dispatcher.deliver(owed, claim):
            ring(drain)
        _ring_for_what_waits()


@wakeup.task("events.retry", queue=RETRIES, limits=_LIMITS)
def retry() -> None:
    """Try again what is due, for as long as no fresh event waits; the next tick goes on."""
    with _task("retry"):
        claim = Claim()
        while owed := leases.take_retries(claim, RETRIES_AT_ONCE):
            if not dispatcher.deliver(owed, claim) or fresh_events_wait():
                break
        _ring_for_what_waits()


@wakeup.task("events.recover", queue=RECOVERY, limits=_LIMITS)
def recover() -> None:
    """Take over events whose worker died with them; fresh events come first, and the next tick goes on."""
    with _task("recover"):
        _recover("recover", Claim(), fresh_events_wait, again=recover)


@wakeup.task("events.prune", queue=RETRIES, limits=_LIMITS)
def prune() -> None:
    """Remove events at the end of their retention."""
    with _task("prune"):
        if not retention.prune(Claim()):
            ring(prune)


@wakeup.task("inbound.deliver", queue=INBOUND, limits=_LIMITS)
def deliver_inbound() -> None:
    """Read the mails that have come in and hand them to the receivers."""
    with _task("inbound.deliver"):
        claim = Claim(kind=MAILS)
        while owed := leases.take_released(claim, MAILS_AT_ONCE):
            if not dispatcher.deliver(owed, claim):
                ring(deliver_inbound)
                break
        _ring_for_what_waits()


@wakeup.task("inbound.retry", queue=INBOUND, limits=_LIMITS)
def retry_inbound() -> None:
    """Try mails again that are due, for as long as no fresh one waits."""
    with _task("inbound.retry"):
        claim = Claim(kind=MAILS)
        while owed := leases.take_retries(claim, MAILS_AT_ONCE):
            if not dispatcher.deliver(owed, claim) or fresh_mails_wait():
                break
        _ring_for_what_waits()


@wakeup.task("inbound.recover", queue=INBOUND, limits=_LIMITS)
def recover_inbound() -> None:
    """Take over mails whose worker died with them; fresh mails come first, and the next tick goes on."""
    with _task("inbound.recover"):
        _recover("inbound_recover", Claim(kind=MAILS), fresh_mails_wait, again=recover_inbound)


@wakeup.task("inbound.prune", queue=INBOUND, limits=_LIMITS)
def prune_inbound() -> None:
    """Remove mails at the end of their retention, and files that belong to none."""
    with _task("inbound.prune"):
        if not inbound_retention.prune(Claim(kind=MAILS)):
            ring(prune_inbound)


@wakeup.task("events.tick", queue=EVENTS, limits=_LIMITS)
def tick() -> None:
    """Ring for everything that waits and that no bell announces."""
    with _task("tick"):
        heard_from_beat()
        _ring_for_what_waits()


def _recover(lock: str, claim: Claim, yields: Callable[[], bool], again: "Task[[], object]") -> None:
    # One process of all: lapsed events may be those that hang, and would hold every process at once. An
    # event that kills its process leaves the lock, which therefore ends with the task's hard limit.
    if redis.hold(lock, leases.hard_limit() * 1000):
        try:
            is_over = dispatcher.recover(claim, yields)
        finally:
            redis.let_go(lock)
        if not is_over:
            ring(again)  # not before: the process that answers needs the lock


def _ring_for_what_waits() -> None:
    due = look()
    bells: tuple[tuple[bool, Task[[], object]], ...] = (
        (due.drain, drain),
        (due.retry, retry),
        (due.recover, recover),
        (due.prune, prune),
        (due.inbound, deliver_inbound),
        (due.inbound_retry, retry_inbound),
        (due.inbound_recover, recover_inbound),
        (due.inbound_prune, prune_inbound),
    )
    for is_due, task in bells:
        if is_due:
            ring(task)


@contextmanager
def _task(name: str) -> Iterator[None]:
    try:
        with _quiet_while_away(name):
            # A connection that broke under an earlier task: Celery's fixup keeps it for many.
            close_old_connections()
            results.write_what_is_left()
            yield
    except SoftTimeLimitExceeded:
        # The limit may have struck in mid statement. psycopg cancels that for KeyboardInterrupt and
        # SystemExit alone (psycopg.Connection.wait), and no later statement could run on the connection.
        connections.close_all()
        logger.warning("Left %s at its time limit, to be taken up again", name)


@contextmanager
def _quiet_while_away(what: str) -> Iterator[None]:
    # Redis or the database away is no error of a task: nothing is lost, the next tick goes on.
    try:
        yield
    except (RedisError, DatabaseError, InterfaceError, DatabaseAway) as away:
        # The first line: a database's further lines may quote values.
        why = f"{type(away).__name__}: {away}".partition("\n")[0][:200]
        logger.warning("Left %s, to be taken up again: %s", what, why)
        close_old_connections()  # who uses the connection next is to find one that works


class Due(NamedTuple):
    """Which bells are to be rung."""

    drain: bool = False
    retry: bool = False
    recover: bool = False
    prune: bool = False
    inbound: bool = False
    inbound_retry: bool = False
    inbound_recover: bool = False
    inbound_prune: bool = False


def look() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises redis.RedisError or a database error when either is away.
    """
    if not redis.hold("tick", INTERVAL * 1000 - 500):
        return Due()
    _report_late_beat()
    return Due(
        drain=fresh_events_wait(),
        retry=leases.anything_to_retry(),
        recover=leases.anything_lapsed(),
        prune=RETENTION_DAYS.get() is not None and redis.hold("prune", PRUNE_EVERY * 1000),
        inbound=fresh_mails_wait(),
        inbound_retry=leases.anything_to_retry(MAILS),
        inbound_recover=leases.anything_lapsed(MAILS),
        inbound_prune=storage.is_there() and redis.hold("inbound_prune", PRUNE_EVERY * 1000),
    )


def fresh_events_wait() -> bool:
    """Whether a drain would find an event. Raises redis.RedisError or a database error."""
    return stream.anything_to_read(leases.lease_ms()) or leases.anything_released()


def fresh_mails_wait() -> bool:
    """Whether there is an inbound mail that no worker has begun. Raises a database error."""
    return leases.anything_released(MAILS)


def heard_from_beat() -> None:
    """This tick is one of beat's, or of a worker that has just started."""
    redis.worker().set(redis.key("beat"), _now())


def since_beat() -> int | None:
    """Seconds since beat's last tick came; None where none has ever come. Raises redis.RedisError."""
    last = cast("bytes | None", redis.worker().get(redis.key("beat")))
    return None if last is None else max(0, _now() - int(last))


def _report_late_beat() -> None:
    late = since_beat()
    if late is None:
        heard_from_beat()  # a new deployment: from here on it is expected
    elif late > LATE and redis.hold("late", 60_000):
        counters.count(counters.TICK_LATE)
        logger.warning(
            "No tick of beat's for %d seconds: work that is due waits for the next drain to find it. "
            "Is beat running, with events.tick in its schedule?",
            late,
        )


def _now() -> int:
    # By the clock of Redis, which all processes share.
    return redis.worker().time()[0]
