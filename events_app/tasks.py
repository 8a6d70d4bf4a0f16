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
    claim = Claim()
    with _quiet_while_away("drain"):
        entries = stream.read(BATCH, dispatch.lease_ms())
        if len(entries) >= BATCH:
            ring(drain)
        owed = inbox.take_in(entries, claim)
        room = max(0, BATCH - len(entries))
        released = dispatch.claim_released(claim, room)
        if room and len(released) == room:
            ring(drain)
        if not dispatch.deliver(owed + released, claim):
            ring(drain)
    tick()


@bell.task("events.recover", queue=RECOVERY, **_LIMITS)
def recover() -> None:
    """Take over events whose worker died with them."""
    with _quiet_while_away("recover"):
        if not dispatch.recover(Claim()):
            ring(recover)


@bell.task("events.tick", queue=EVENTS, **_LIMITS)
def tick() -> None:
    """Ring for everything that waits and that no bell announces."""
    with _quiet_while_away("tick"):
        due = look()
        if due.drain:
            ring(drain)
        if due.recover:
            ring(recover)


@contextmanager
def _quiet_while_away(what: str) -> Iterator[None]:
    # Redis or the database away is no error of a task: nothing is lost, the next tick goes on.
    # A connection that broke under an earlier task is closed here: Celery's fixup keeps it for many.
    close_old_connections()
    try:
        yield
    except (RedisError, DatabaseError, InterfaceError) as away:
        # The first line: a database's further lines may quote values.
        why = f"{type(away).__name__}: {away}".partition("\n")[0][:200]
        logger.warning("Left %s, to be taken up again: %s", what, why)
