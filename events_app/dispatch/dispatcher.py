"""What is stored -> its receivers: each receiver by itself, so that what one does harms no other."""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

import billiard.common
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, OperationalError, router, transaction

from events_app.conf import ATOMIC_DISPATCH
from events_app.decode import Unreadable
from events_app.dispatch import results, transactions
from events_app.dispatch.kinds import Owed, Unavailable
from events_app.dispatch.leases import Claim, claimed, lease_ms, take_lapsed
from events_app.dispatch.results import Verdicts
from events_app.dispatch.transactions import Outside, TransactionLost
from events_app.models import Work
from events_app.shared import counters
from events_app.shared.database import DatabaseAway
from events_app.signals import ESP_NAME, NamedReceiver, doors

logger = logging.getLogger(__name__)

_UNKNOWN = (
    "No receiver of this name is connected in this worker. Let a worker start that has it; "
    "where it is gone for good, replay the event for the receivers there are."
)


#: Seconds of recovery, and one event at least, before it yields to fresh events.
RECOVERY_SLICE = 1.0


def deliver(owed: Sequence[Owed], claim: Claim) -> bool:
    """Call each event's receivers. False when the budget ended first; the rest is released then.

    The first event is begun whatever the budget says, so that every call of this gets somewhere.
    Raises DatabaseAway, with nothing counted against any event; the one at hand is taken up alone.
    """
    told = Verdicts(claim)
    receivers = {door: _receivers(door, claim) for door in {item.door for item in owed}}
    call = _way_to_call(told)
    begun = 0
    try:
        for item in owed:
            if (begun and not claim.has_budget()) or not claim.is_held():
                break
            told.write_when_due()
            begun += 1
            _deliver(item, receivers[item.door], told, call)
    finally:
        told.released += [item.pk for item in owed[begun:]]
        told.close()
    # Where the budget is over, the last event may have been put down between two receivers.
    return begun == len(owed) and (begun == 0 or claim.has_budget())


def recover(claim: Claim, yields: Callable[[], bool]) -> bool:
    """Take over events whose lease has lapsed, one at a time. False when the budget ended first.

    After an event, once its slice of time is over, recovery stops where `yields` says that fresh events wait.
    Raises DatabaseAway, and what `yields` raises.
    """
    slice_ends = time.monotonic() + RECOVERY_SLICE
    while claim.has_budget():
        item = take_lapsed(claim)
        if item is None:
            return True
        told = Verdicts(claim)
        try:
            _deliver(item, _receivers(item.door, claim), told, _way_to_call(told))
        finally:
            # The database that went away now, while this event was alone, may have gone because of
            # it: left to its lease, it has lost one of its lives.
            told.handed_over.clear()
            told.close()
        if time.monotonic() >= slice_ends and yields():
            return True
    return False


def _receivers(door: str, claim: Claim) -> dict[str, NamedReceiver]:
    return {receiver.name: receiver for receiver in claim.kind.signal.named_receivers(doors.get(door))}


class _Calls:
    """The calls one event's receivers are owed."""

    def __init__(self, item: Owed, receivers: dict[str, NamedReceiver], claim: Claim) -> None:
        self.item, self.receivers, self.claim = item, receivers, claim
        self._event = item.event or claim.kind.read(item.row)
        #: Receivers that have not succeeded yet, each with the traceback of its last failure.
        self.left = dict(item.receivers) or dict.fromkeys(receivers, "")
        # In the order they were connected; PostgreSQL keeps the names in one of its own.
        self.wanted = (*(name for name in receivers if name in self.left), *(self.left.keys() - receivers))
        self.failed = False

    def make(self, guard: Callable[[], AbstractContextManager[None]]) -> None:
        """Call them, each inside a `guard`; `left` and `failed` say what came of it.

        Raises DatabaseAway or TransactionLost, and SystemExit where this process is told to end.
        """
        if self.item.failures:
            counters.count(counters.RETRIED)
        for number, name in enumerate(self.wanted):
            if number and not self.claim.has_budget():
                break  # each is to have all of its time
            if name not in self.receivers:
                self._file(name, _UNKNOWN, counters.RECEIVER_UNKNOWN)
                continue
            try:
                with guard():
                    self._call(self.receivers[name])
            except BaseException as error:  # a receiver may raise anything
                if transactions.is_lost(router.db_for_write(Work)):
                    raise DatabaseAway(type(error).__name__) from error
                if isinstance(error, SystemExit) and _is_told_to_end():
                    raise
                timed_out = isinstance(error, SoftTimeLimitExceeded)
                reason = counters.RECEIVER_TIMED_OUT if timed_out else counters.RECEIVER_FAILED
                self._file(name, traceback.format_exc(), reason)
                if isinstance(error, TransactionLost):
                    raise
            else:
                del self.left[name]

    def _call(self, receiver: NamedReceiver) -> None:
        receiver.call(
            signal=self.claim.kind.signal,
            sender=doors.get(self.item.door),
            event=self._fresh(),
            esp_name=ESP_NAME,
            attempt=self.item.failures + self.item.lapses + 1,
            replay=self.item.replay,
        )

    def _file(self, name: str, error: str, reason: str) -> None:
        self.left[name] = error
        self.failed = True
        counters.count(reason)
        # What a receiver says of its error may hold an address; the work row keeps it.
        logger.error("Receiver %s failed on %s %d", name, self.claim.kind.noun, self.item.pk)

    def _fresh(self) -> object:
        """The event, another one for each receiver: to read it again costs less than a deep copy."""
        event, self._event = self._event, None
        return event or self.claim.kind.read(self.item.row)


_Call: TypeAlias = Callable[[_Calls], None]


def _way_to_call(told: Verdicts) -> _Call:
    return _in_one_transaction if ATOMIC_DISPATCH.get() else partial(_one_by_one, told, Outside())


def _deliver(item: Owed, receivers: dict[str, NamedReceiver], told: Verdicts, call: _Call) -> None:
    calls = None
    try:
        calls = _calls(item, receivers, told)
        if calls:
            call(calls)
    except (OperationalError, InterfaceError, DatabaseAway, SystemExit) as error:
        told.handed_over[item.pk] = calls.left if calls else item.receivers
        if isinstance(error, DatabaseAway | SystemExit):
            raise
        raise DatabaseAway(type(error).__name__) from error
    except SoftTimeLimitExceeded:
        # Between the receivers, which is no fault of the event's. But one that takes too long to be read
        # is left to its lease, which counts.
        if calls:
            told.handed_over[item.pk] = calls.left
        raise


def _is_told_to_end() -> bool:
    # billiard's handler of SIGTERM raises SystemExit wherever the process is: at the hard limit, or when
    # a supervisor stops the worker with all its children. No fault of the receiver's.
    return bool(billiard.common._should_have_exited[0])  # type: ignore[attr-defined]


def _calls(item: Owed, receivers: dict[str, NamedReceiver], told: Verdicts) -> "_Calls | None":
    """The calls to be made for the event; None where it cannot be read."""
    try:
        calls = _Calls(item, receivers, told.claim)
    except Unreadable as error:
        results.bury(item, told.claim, str(error))
        counters.count(counters.DEAD_ON_ARRIVAL)
        return None
    except Unavailable as error:
        results.put_off(item, told.claim, item.receivers, str(error))
        return None
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (a fault of ours, which costs this one alone)
        noun, said = told.claim.kind.noun.capitalize(), traceback.format_exception_only(error)[-1].strip()
        # What it says may hold an address; the work row keeps it.
        logger.error("%s %d could not be read: %s", noun, item.pk, type(error).__name__)
        results.put_off(item, told.claim, item.receivers, f"It could not be read: {said}")
        return None
    told.met_nobody += not calls.left
    return calls


def _one_by_one(told: Verdicts, outside: Outside, calls: _Calls) -> None:
    calls.make(lambda: outside)
    if calls.left:
        _put_down(calls)
    else:
        told.done.append(calls.item.pk)


def _in_one_transaction(calls: _Calls) -> None:
    """What the receivers write and the verdict on the event commit together, or not at all."""
    using = router.db_for_write(Work)
    pk, claim = calls.item.pk, calls.claim
    try:
        with transaction.atomic(using=using):
            transactions.end_when_idle(using, lease_ms())
            if not claimed([pk], claim).select_for_update().values_list("pk"):
                return  # another worker has it
            calls.make(partial(transactions.inside, using))
            if calls.left:
                _put_down(calls)
            else:
                results.delete_done([pk], claim)
    except (OperationalError, InterfaceError, DatabaseAway, SystemExit, SoftTimeLimitExceeded):
        calls.left = dict(calls.item.receivers)
        raise
    except Exception as error:  # noqa: BLE001 (a constraint that is checked at the commit, say)
        # None of it is kept, so all receivers are owed the event again. (Where it was only a receiver's
        # on_commit that raised, all of it is kept, and the row is gone.)
        transactions.reset(using)
        blame = "" if isinstance(error, TransactionLost) else traceback.format_exc()
        calls.left = {name: calls.left.get(name) or blame for name in calls.wanted}
        calls.failed = True
        noun = claim.kind.noun
        logger.error("The transaction around %s %d failed: %s", noun, pk, type(error).__name__)
        _put_down(calls)


def _put_down(calls: _Calls) -> None:
    if calls.failed:
        results.put_off(calls.item, calls.claim, calls.left)
    else:
        results.release(calls.item, calls.claim, calls.left)
