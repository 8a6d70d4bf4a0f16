"""The bells a Celery worker answers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, close_old_connections
from redis import RedisError

from events_app import bell, dispatch, inbox, stream
from events_app.bell import ring
from events_app.dispatch import Claim
from events_app.tick import tick as look

logger = logging.getLogger(__name__)

#: The queues a worker is to consume: fresh events, and what a dead worker left.
EVENTS, RECOVERY = "sendgrid.events", "sendgrid.recovery"

#: Events one drain takes.
BATCH = 500

_LIMITS = {"soft_limit": dispatch.soft_limit(), "hard_limit": dispatch.hard_limit()}


@bell.task("events.drain", queue=EVENTS, **_LIMITS)
def drain() -> None:
    """Store what waits in the stream and hand it to the receivers."""
    close_old_connections()  # one that broke under an earlier task: Celery's fixup keeps it for many
    claim = Claim()
    with _quiet_while_away("drain"):
        # First what another drain had no time for: were fresh events first, these might never be
        # next, and the backlog would grow in the database, past its limit.
        owed = dispatch.claim_released(claim, BATCH)
        with _quiet_while_away("the stream"):
            entries, more = stream.read(BATCH - len(owed), dispatch.lease_ms())
            owed += inbox.take_in(entries, claim)
            if more:
                ring(drain)
        if not dispatch.deliver(owed, claim):
            ring(drain)
        _ring_for_what_waits()


@bell.task("events.recover", queue=RECOVERY, **_LIMITS)
def recover() -> None:
    """Take over events whose worker died with them."""
    close_old_connections()
    with _quiet_while_away("recover"):
        if not dispatch.recover(Claim()):
            ring(recover)


@bell.task("events.tick", queue=EVENTS, **_LIMITS)
def tick() -> None:
    """Ring for everything that waits and that no bell announces."""
    close_old_connections()
    with _quiet_while_away("tick"):
        _ring_for_what_waits()


def _ring_for_what_waits() -> None:
    due = look()
    if due.drain:
        ring(drain)
    if due.recover:
        ring(recover)


@contextmanager
def _quiet_while_away(what: str) -> Iterator[None]:
    # Redis or the database away is no error of a task: nothing is lost, the next tick goes on.
    try:
        yield
    except (RedisError, DatabaseError, InterfaceError, inbox.DatabaseAway) as away:
        # The first line: a database's further lines may quote values.
        why = f"{type(away).__name__}: {away}".partition("\n")[0][:200]
        logger.warning("Left %s, to be taken up again: %s", what, why)
