"""The results of a lease's deliveries. While the database is unavailable, results wait in this process."""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError

from events_app import sql
from events_app.conf import RECEIVER_MAX_ATTEMPTS, RECEIVER_RETRY_DELAY
from events_app.dispatch import dead_letters
from events_app.dispatch.leases import ORPHANED, Delivery, Lease, events_database, leased
from events_app.models import PendingDelivery
from events_app.shared import counters
from events_app.shared.backoff import exponential, with_jitter
from events_app.shared.counting import count, flush, observe
from events_app.shared.database import DatabaseUnavailable, clean, database_now
from events_app.shared.engine import Unwritten

logger = logging.getLogger(__name__)

# Only the last characters of a traceback are kept.
_MOST_ERROR = 20_000

#: The longest delay between two tries, in seconds.
LONGEST_BACKOFF = 4 * 3600

#: Results that wait for the database. They change nothing once another worker has the event's lease.
unwritten = Unwritten()


class ResultBuffer:
    """The results of a lease's deliveries, written once a second.

    Results not yet written when a worker dies are lost; the receivers are called again (at-least-once).
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        #: Deliveries completed: every receiver was called.
        self.done: list[int] = []
        #: Deliveries not started, for another worker.
        self.released: list[int] = []
        #: Deliveries interrupted by an unavailable database. Each has the names of the receivers still to be
        #: called, with their last errors.
        self.interrupted: dict[int, Mapping[str, str]] = {}
        #: The number of deliveries without a connected receiver.
        self.without_receiver = 0
        #: The seconds of the successful calls, by receiver.
        self.successes: defaultdict[str, list[float]] = defaultdict(list)
        #: The ended first attempts: the time of the end, and the time of the post.
        self.first_attempts: list[tuple[float, datetime]] = []
        self._last_write = time.monotonic()

    def write_when_due(self) -> None:
        """Write when the last write is a second old. Call it before a receiver, which may take long or crash.

        Raises DatabaseUnavailable and keeps the results.
        """
        if time.monotonic() > self._last_write + 1:
            self._count()
            flush()
            try:
                self._write()
            except (DatabaseError, InterfaceError) as error:
                raise DatabaseUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Write all results. Results that cannot be written now wait in `unwritten`.

        Raises SoftTimeLimitExceeded. Never raises DatabaseUnavailable: a caller's error may be pending.
        """

        def write_while_leased() -> None:
            # After the lease another worker repeats the deliveries. A write that always fails must end some
            # time.
            if self.lease.is_held():
                self._write()

        self._count()
        try:
            unwritten.write(self._write, write_while_leased)
        except DatabaseUnavailable as error:
            logger.warning("Results of deliveries wait for the database: %s", error)

    def _count(self) -> None:
        # Not at each call: that would cost as much as a twentieth of an event.
        count(counters.EVENTS_WITHOUT_RECEIVER, by=self.without_receiver)
        for name, seconds in self.successes.items():
            count(counters.RECEIVER_CALLS, name, "ok", by=len(seconds))
            observe(counters.RECEIVER_SECONDS, seconds, name)
        delays = [ended - received_at.timestamp() for ended, received_at in self.first_attempts]
        observe(counters.DELIVERY_SECONDS, delays, self.lease.kind.command)
        self.without_receiver, self.first_attempts = 0, []
        self.successes.clear()

    def _write(self) -> None:
        self._last_write = time.monotonic()
        if self.done:
            delete_done(self.done, self.lease)
            self.done = []
        if not (self.released or self.interrupted):
            return
        due = database_now(events_database())
        if self.released and self.lease.is_held():
            released = leased(self.released, self.lease).update(lease=None, due=due)
            count(counters.EVENTS_RELEASED, by=released)
        self.released = []
        for pk, receivers in list(self.interrupted.items()):
            leased([pk], self.lease).update(lease=ORPHANED, due=due, receivers=_cleaned(receivers))
            del self.interrupted[pk]


def delete_done(pks: Sequence[int], lease: Lease) -> None:
    """Delete completed deliveries."""
    sql.delete_deliveries(lease.kind.pending_model, sorted(pks), lease.token, events_database())


def schedule_retry(delivery: Delivery, lease: Lease, receivers: Mapping[str, str], why: str = "") -> None:
    """Retry the `receivers` after a backoff. At the limit of failures the delivery becomes a dead letter.

    `why` gives the reason when no receiver could be called.
    """
    failures, why = delivery.failures + 1, clean(why)[:_MOST_ERROR]
    changes: dict[str, object] = {"lease": None, "failures": failures, "receivers": _cleaned(receivers)}
    if failures < RECEIVER_MAX_ATTEMPTS.get():
        due = database_now(events_database()) + backoff(failures)
        leased([delivery.pk], lease).update(**changes, due=due, error=why)
    else:
        error = f"tried {failures} times. {why}" if why else f"a receiver failed {failures} times."
        changes |= {"state": PendingDelivery.State.DEAD_LETTER, "error": f"Given up: {error}"}
        if leased([delivery.pk], lease).update(**changes):
            count(counters.DEAD_LETTERS, "receiver_failed")
            _report_dead_letter(delivery, lease, f"it failed {failures} times")


def release_delivery(delivery: Delivery, lease: Lease, receivers: Mapping[str, str]) -> None:
    """Leave `receivers` to another worker: the budget is over."""
    due = database_now(events_database())
    leased([delivery.pk], lease).update(lease=None, due=due, receivers=_cleaned(receivers))


def move_to_dead_letters(delivery: Delivery, lease: Lease, error: str) -> None:
    """Make an unreadable delivery a dead letter."""
    changes = {"state": PendingDelivery.State.DEAD_LETTER, "lease": None, "error": clean(error)}
    if leased([delivery.pk], lease).update(**changes):
        count(counters.DEAD_LETTERS, "unreadable")
        _report_dead_letter(delivery, lease, "it cannot be read")


def _report_dead_letter(delivery: Delivery, lease: Lease, why: str) -> None:
    dead_letters.report(lease.kind, delivery.pk, why, events_database(), **delivery.log_fields(lease.kind))


def backoff(failures: int) -> timedelta:
    """The delay before the next try: doubled with every failure, with jitter."""
    return with_jitter(exponential(RECEIVER_RETRY_DELAY.get(), failures, LONGEST_BACKOFF))


def _cleaned(receivers: Mapping[str, str]) -> dict[str, str]:
    return {name: clean(error)[-_MOST_ERROR:] for name, error in receivers.items()}
