"""The results of a lease's deliveries, written to the database; later, while it is unavailable."""

import logging
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, router

from events_app.conf import RECEIVER_MAX_ATTEMPTS, RECEIVER_RETRY_DELAY
from events_app.dispatch.kinds import Delivery
from events_app.dispatch.leases import ORPHANED, Lease, leased
from events_app.models import PendingDelivery
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable, clean, database_now

logger = logging.getLogger(__name__)

# Characters of a traceback that are kept, the last ones.
_MOST_ERROR = 20_000

#: Seconds the delay between two tries grows to.
LONGEST_BACKOFF = 4 * 3600


class ResultBuffer:
    """The results of one lease's deliveries, written once a second.

    Results that a worker had not written when it died are lost: it is at-least-once, and calls again.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        #: Events that every receiver has.
        self.done: list[int] = []
        #: Events that this worker has not begun, for another one.
        self.released: list[int] = []
        #: Events in whose midst the database became unavailable, each with the receivers still to be called.
        self.interrupted: dict[int, Mapping[str, str]] = {}
        #: How many events had no receiver connected.
        self.without_receiver = 0
        self._written = time.monotonic()

    def write_when_due(self) -> None:
        """Before a call, not after it: that one may take long, or be the worker's last.

        Raises DatabaseAway, and keeps them.
        """
        if time.monotonic() > self._written + 1:
            try:
                self._write()
            except (DatabaseError, InterfaceError) as error:
                raise DatabaseUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Write all; what cannot be written now, this process writes at the start of a later task.

        Raises SoftTimeLimitExceeded, and keeps the rest for that task too.
        """
        counters.count(counters.NO_RECEIVER, self.without_receiver)
        self.without_receiver = 0
        try:
            self._write()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Results of deliveries wait for the database: %s", type(error).__name__)
            _unwritten.append(self)
        except SoftTimeLimitExceeded:
            _unwritten.append(self)
            raise

    def _write(self) -> None:
        self._written = time.monotonic()
        if self.done:
            delete_done(self.done, self.lease)
            self.done = []
        if not (self.released or self.interrupted):
            return
        now = database_now(router.db_for_write(PendingDelivery))
        if self.released and self.lease.is_held():
            free = leased(self.released, self.lease).update(lease=None, due=now)
            counters.count(counters.RELEASED, free)
        self.released = []
        for pk, receivers in list(self.interrupted.items()):
            leased([pk], self.lease).update(lease=ORPHANED, due=now, receivers=_cleaned(receivers))
            del self.interrupted[pk]


# Of this process, and of no use to another: an event whose lease ends before is done again.
_unwritten: deque[ResultBuffer] = deque()


def write_unwritten() -> None:
    """Write what could not be written while the database was away."""
    for _ in range(len(_unwritten)):
        try:
            buffer = _unwritten.popleft()
        except IndexError:  # another thread of this process was faster
            return
        if buffer.lease.is_held():
            buffer.close()


def delete_done(pks: Sequence[int], lease: Lease) -> None:
    """Delete the pending deliveries of these events: every receiver has them."""
    leased(pks, lease).delete()


def schedule_retry(delivery: Delivery, lease: Lease, receivers: Mapping[str, str], why: str = "") -> None:
    """A receiver has failed, or none could be called, and `why` says why not.

    Those in `receivers` get the event after a delay, or never.
    """
    failures, why = delivery.failures + 1, clean(why)[:_MOST_ERROR]
    changes: dict[str, object] = {"lease": None, "failures": failures, "receivers": _cleaned(receivers)}
    if failures < RECEIVER_MAX_ATTEMPTS.get():
        changes |= {
            "due": database_now(router.db_for_write(PendingDelivery)) + backoff(failures),
            "error": why,
        }
        leased([delivery.pk], lease).update(**changes)
    else:
        error = f"tried {failures} times. {why}" if why else f"a receiver failed {failures} times."
        changes |= {"state": PendingDelivery.State.DEAD_LETTER, "error": f"Given up: {error}"}
        counters.count(counters.RETRIES_EXHAUSTED, leased([delivery.pk], lease).update(**changes))


def release(delivery: Delivery, lease: Lease, receivers: Mapping[str, str]) -> None:
    """There was no time to call those in `receivers`: another worker is to."""
    now = database_now(router.db_for_write(PendingDelivery))
    leased([delivery.pk], lease).update(lease=None, due=now, receivers=_cleaned(receivers))


def move_to_dead_letters(delivery: Delivery, lease: Lease, error: str) -> None:
    """Make it a dead letter: no receiver can be given this event."""
    leased([delivery.pk], lease).update(
        state=PendingDelivery.State.DEAD_LETTER, lease=None, error=clean(error)
    )


def backoff(failures: int) -> timedelta:
    """How long after so many failures the next try comes."""
    seconds = min(RECEIVER_RETRY_DELAY.get() * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF)
    # Spread, so that what failed together does not come back together.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311


def _cleaned(receivers: Mapping[str, str]) -> dict[str, str]:
    return {name: clean(error)[-_MOST_ERROR:] for name, error in receivers.items()}
