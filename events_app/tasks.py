"""The bells a Celery worker answers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from redis import RedisError

from events_app import bell, claims, dispatch, inbox, retention, stream, verdicts
from events_app.bell import Limits, ring
from events_app.claims import Claim
from events_app.inbound import retention as inbound_retention
from events_app.inbound.mails import MAILS
from events_app.models import DatabaseAway
from events_app.tick import fresh_events_wait, fresh_mails_wait, heard_from_beat
from events_app.tick import tick as look

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

_LIMITS = Limits(claims.soft_limit(), claims.hard_limit())


@bell.task("events.drain", queue=EVENTS, limits=_LIMITS)
def drain() -> None:
    """Store what waits in the stream and hand it to the receivers."""
    with _task("drain"):
        claim = Claim()
        # First what another drain had no time for: were fresh events first, these might never be
        # next, and the backlog would grow in the database, past its limit.
        owed = claims.take_released(claim, BATCH)
        with _quiet_while_away("the stream"):
            entries, more = stream.read(BATCH - len(owed), claims.lease_ms())
            owed += inbox.take_in(entries, claim)
            if more:
                ring(drain)
        if not dispatch.deliver(owed, claim):
            ring(drain)
        _ring_for_what_waits()


@bell.task("events.retry", queue=RETRIES, limits=_LIMITS)
def retry() -> None:
    """Try again what is due, for as long as no fresh event waits; the next tick goes on."""
    with _task("retry"):
        claim = Claim()
        while owed := claims.take_retries(claim, RETRIES_AT_ONCE):
            if not dispatch.deliver(owed, claim) or fresh_events_wait():
                break
        _ring_for_what_waits()


@bell.task("events.recover", queue=RECOVERY, limits=_LIMITS)
def recover() -> None:
    """Take over events whose worker died with them; fresh events come first, and the next tick goes on."""
    with _task("recover"):
        _recover("recover", Claim(), fresh_events_wait, again=recover)


@bell.task("events.prune", queue=RETRIES, limits=_LIMITS)
def prune() -> None:
    """Remove events at the end of their retention."""
    with _task("prune"):
        if not retention.prune(Claim()):
            ring(prune)


@bell.task("inbound.deliver", queue=INBOUND, limits=_LIMITS)
def deliver_inbound() -> None:
    """Read the mails that have come in and hand them to the receivers."""
    with _task("inbound.deliver"):
        claim = Claim(kind=MAILS)
        while owed := claims.take_released(claim, MAILS_AT_ONCE):
            if not dispatch.deliver(owed, claim):
                ring(deliver_inbound)
                break
        _ring_for_what_waits()


@bell.task("inbound.retry", queue=INBOUND, limits=_LIMITS)
def retry_inbound() -> None:
    """Try mails again that are due, for as long as no fresh one waits."""
    with _task("inbound.retry"):
        claim = Claim(kind=MAILS)
        while owed := claims.take_retries(claim, MAILS_AT_ONCE):
            if not dispatch.deliver(owed, claim) or fresh_mails_wait():
                break
        _ring_for_what_waits()


@bell.task("inbound.recover", queue=INBOUND, limits=_LIMITS)
def recover_inbound() -> None:
    """Take over mails whose worker died with them; fresh mails come first, and the next tick goes on."""
    with _task("inbound.recover"):
        _recover("inbound_recover", Claim(kind=MAILS), fresh_mails_wait, again=recover_inbound)


@bell.task("inbound.prune", queue=INBOUND, limits=_LIMITS)
def prune_inbound() -> None:
    """Remove mails at the end of their retention, and files that belong to none."""
    with _task("inbound.prune"):
        if not inbound_retention.prune(Claim(kind=MAILS)):
            ring(prune_inbound)


@bell.task("events.tick", queue=EVENTS, limits=_LIMITS)
def tick() -> None:
    """Ring for everything that waits and that no bell announces."""
    with _task("tick"):
        heard_from_beat()
        _ring_for_what_waits()


def _recover(lock: str, claim: Claim, yields: Callable[[], bool], again: "Task[[], object]") -> None:
    # One process of all: lapsed events may be those that hang, and would hold every process at once. An
    # event that kills its process leaves the lock, which therefore ends with the task's hard limit.
    if stream.hold(lock, claims.hard_limit() * 1000):
        try:
            is_over = dispatch.recover(claim, yields)
        finally:
            stream.let_go(lock)
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
            verdicts.write_what_is_left()
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
