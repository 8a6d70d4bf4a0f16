"""What became of the events of a claim, told to the database; later, if it is away just now."""

import logging
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, router

from events_app.conf import RECEIVER_MAX_ATTEMPTS, RECEIVER_RETRY_DELAY
from events_app.dispatch.kinds import Owed
from events_app.dispatch.leases import NOBODY, Claim, claimed
from events_app.models import Work
from events_app.shared import counters
from events_app.shared.database import DatabaseAway, clean, database_now

logger = logging.getLogger(__name__)

# Characters of a traceback that are kept, the last ones.
_MOST_ERROR = 20_000

#: Seconds the delay between two tries grows to.
LONGEST_DELAY = 4 * 3600


class Verdicts:
    """The verdicts on the events of one claim, written once a second.

    What a dead worker had done and not written is done again.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        #: Events that are owed to nobody any more.
        self.done: list[int] = []
        #: Events that nobody has begun, for another worker.
        self.released: list[int] = []
        #: Events in whose midst the database went away, each with the receivers it is still owed to.
        self.handed_over: dict[int, Mapping[str, str]] = {}
        #: How many events no receiver was connected for.
        self.met_nobody = 0
        self._written = time.monotonic()

    def write_when_due(self) -> None:
        """Before a call, not after it: that one may take long, or be the worker's last.

        Raises DatabaseAway, and keeps them.
        """
        if time.monotonic() > self._written + 1:
            try:
                self._write()
            except (DatabaseError, InterfaceError) as error:
                raise DatabaseAway(type(error).__name__) from error

    def close(self) -> None:
        """Write all; what cannot be written now, this process writes at the start of a later task.

        Raises SoftTimeLimitExceeded, and keeps the rest for that task too.
        """
        counters.count(counters.NO_RECEIVER, self.met_nobody)
        self.met_nobody = 0
        try:
            self._write()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Verdicts on events wait for the database: %s", type(error).__name__)
            _unwritten.append(self)
        except SoftTimeLimitExceeded:
            _unwritten.append(self)
            raise

    def _write(self) -> None:
        self._written = time.monotonic()
        if self.done:
            delete_done(self.done, self.claim)
            self.done = []
        if not (self.released or self.handed_over):
            return
        now = database_now(router.db_for_write(Work))
        if self.released and self.claim.is_held():
            free = claimed(self.released, self.claim).update(claim=None, due=now)
            counters.count(counters.RELEASED, free)
        self.released = []
        for pk, receivers in list(self.handed_over.items()):
            claimed([pk], self.claim).update(claim=NOBODY, due=now, receivers=_cleaned(receivers))
            del self.handed_over[pk]


# Of this process, and of no use to another: an event whose lease ends before is done again.
_unwritten: deque[Verdicts] = deque()


def write_what_is_left() -> None:
    """Write what could not be written while the database was away."""
    for _ in range(len(_unwritten)):
        try:
            verdicts = _unwritten.popleft()
        except IndexError:  # another thread of this process was faster
            return
        if verdicts.claim.is_held():
            verdicts.close()


def delete_done(pks: Sequence[int], claim: Claim) -> None:
    """Nobody is owed these events any more."""
    claimed(pks, claim).delete()


def put_off(item: Owed, claim: Claim, receivers: Mapping[str, str], why: str = "") -> None:
    """A receiver has failed, or nobody could be called, and `why` says why not.

    Those in `receivers` get the event after a delay, or never.
    """
    failures, why = item.failures + 1, clean(why)[:_MOST_ERROR]
    changes: dict[str, object] = {"claim": None, "failures": failures, "receivers": _cleaned(receivers)}
    if failures < RECEIVER_MAX_ATTEMPTS.get():
        changes |= {"due": database_now(router.db_for_write(Work)) + delay(failures), "error": why}
        claimed([item.pk], claim).update(**changes)
    else:
        error = f"tried {failures} times. {why}" if why else f"a receiver failed {failures} times."
        changes |= {"state": Work.State.DEAD, "error": f"Given up: {error}"}
        counters.count(counters.OUT_OF_TRIES, claimed([item.pk], claim).update(**changes))


def release(item: Owed, claim: Claim, receivers: Mapping[str, str]) -> None:
    """There was no time to call those in `receivers`: another worker is to."""
    now = database_now(router.db_for_write(Work))
    claimed([item.pk], claim).update(claim=None, due=now, receivers=_cleaned(receivers))


def bury(item: Owed, claim: Claim, error: str) -> None:
    """No receiver can be given this event."""
    claimed([item.pk], claim).update(state=Work.State.DEAD, claim=None, error=clean(error))


def delay(failures: int) -> timedelta:
    """How long after so many failures the next try comes."""
    seconds = min(RECEIVER_RETRY_DELAY.get() * 2.0 ** min(failures - 1, 30), LONGEST_DELAY)
    # Spread, so that what failed together does not come back together.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311


def _cleaned(receivers: Mapping[str, str]) -> dict[str, str]:
    return {name: clean(error)[-_MOST_ERROR:] for name, error in receivers.items()}
