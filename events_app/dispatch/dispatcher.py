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
from events_app.dispatch.kinds import Delivery, Unavailable
from events_app.dispatch.leases import Lease, lease_duration_ms, leased, take_expired
from events_app.dispatch.results import ResultBuffer
from events_app.dispatch.transactions import Outside, TransactionLost
from events_app.models import PendingDelivery
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable
from events_app.signals import ESP_NAME, NamedReceiver, webhook_views

logger = logging.getLogger(__name__)

_RECEIVER_UNKNOWN = (
    "No receiver of this name is connected in this worker. Let a worker start that has it; "
    "where it is gone for good, replay the event for the receivers there are."
)


#: Seconds of recovery, and one event at least, before it yields to fresh events.
RECOVERY_SLICE = 1.0


def deliver(deliveries: Sequence[Delivery], lease: Lease) -> bool:
    """Call each event's receivers. False when the budget ended first; the rest is released then.

    The first event is begun whatever the budget says, so that every call of this gets somewhere.
    Raises DatabaseAway, with nothing counted against any event; the one at hand is taken up alone.
    """
    buffer = ResultBuffer(lease)
    receivers = {
        webhook: _receivers(webhook, lease) for webhook in {delivery.webhook for delivery in deliveries}
    }
    call = _call_strategy(buffer)
    begun = 0
    try:
        for delivery in deliveries:
            if (begun and not lease.has_budget()) or not lease.is_held():
                break
            buffer.write_when_due()
            begun += 1
            _deliver(delivery, receivers[delivery.webhook], buffer, call)
    finally:
        buffer.released += [delivery.pk for delivery in deliveries[begun:]]
        buffer.close()
    # Where the budget is over, the last event may have been put down between two receivers.
    return begun == len(deliveries) and (begun == 0 or lease.has_budget())


def recover(lease: Lease, yields: Callable[[], bool]) -> bool:
    """Take over events whose lease has expired, one at a time. False when the budget ended first.

    After an event, once its slice of time is over, recovery stops where `yields` says that fresh events wait.
    Raises DatabaseAway, and what `yields` raises.
    """
    slice_ends = time.monotonic() + RECOVERY_SLICE
    while lease.has_budget():
        delivery = take_expired(lease)
        if delivery is None:
            return True
        buffer = ResultBuffer(lease)
        try:
            _deliver(delivery, _receivers(delivery.webhook, lease), buffer, _call_strategy(buffer))
        finally:
            # The database that went away now, while this event was alone, may have gone because of
            # it: let the lease expire, which counts one worker death.
            buffer.interrupted.clear()
            buffer.close()
        if time.monotonic() >= slice_ends and yields():
            return True
    return False


def _receivers(webhook: str, lease: Lease) -> dict[str, NamedReceiver]:
    return {
        receiver.name: receiver for receiver in lease.kind.signal.named_receivers(webhook_views.get(webhook))
    }


class _Calls:
    """The calls of one pending delivery."""

    def __init__(self, delivery: Delivery, receivers: dict[str, NamedReceiver], lease: Lease) -> None:
        self.delivery, self.receivers, self.lease = delivery, receivers, lease
        self._event = delivery.event or lease.kind.read(delivery.row)
        #: Receivers that have not succeeded yet, each with the traceback of its last failure.
        self.remaining = dict(delivery.receivers) or dict.fromkeys(receivers, "")
        # In the order they were connected; PostgreSQL keeps the names in one of its own.
        self.wanted = (
            *(name for name in receivers if name in self.remaining),
            *(self.remaining.keys() - receivers),
        )
        self.failed = False

    def make(self, guard: Callable[[], AbstractContextManager[None]]) -> None:
        """Call them, each inside a `guard`; `left` and `failed` say what came of it.

        Raises DatabaseAway or TransactionLost, and SystemExit where this process is told to end.
        """
        if self.delivery.failures:
            counters.count(counters.RETRIED)
        for number, name in enumerate(self.wanted):
            if number and not self.lease.has_budget():
                break  # each is to have all of its time
            if name not in self.receivers:
                self._record_failure(name, _RECEIVER_UNKNOWN, counters.RECEIVER_UNKNOWN)
                continue
            try:
                with guard():
                    self._call(self.receivers[name])
            except BaseException as error:  # a receiver may raise anything
                if transactions.is_connection_lost(router.db_for_write(PendingDelivery)):
                    raise DatabaseUnavailable(type(error).__name__) from error
                if isinstance(error, SystemExit) and _is_shutting_down():
                    raise
                timed_out = isinstance(error, SoftTimeLimitExceeded)
                reason = counters.RECEIVER_TIMED_OUT if timed_out else counters.RECEIVER_FAILED
                self._record_failure(name, traceback.format_exc(), reason)
                if isinstance(error, TransactionLost):
                    raise
            else:
                del self.remaining[name]

    def _call(self, receiver: NamedReceiver) -> None:
        receiver.call(
            signal=self.lease.kind.signal,
            sender=webhook_views.get(self.delivery.webhook),
            event=self._fresh(),
            esp_name=ESP_NAME,
            attempt=self.delivery.failures + self.delivery.worker_deaths + 1,
            replay=self.delivery.replay,
        )

    def _record_failure(self, name: str, error: str, reason: str) -> None:
        self.remaining[name] = error
        self.failed = True
        counters.count(reason)
        # What a receiver says of its error may hold an address; the pending delivery keeps it.
        logger.error("Receiver %s failed on %s %d", name, self.lease.kind.noun, self.delivery.pk)

    def _fresh(self) -> object:
        """The event, another one for each receiver: to read it again costs less than a deep copy."""
        event, self._event = self._event, None
        return event or self.lease.kind.read(self.delivery.row)


_Call: TypeAlias = Callable[[_Calls], None]


def _call_strategy(buffer: ResultBuffer) -> _Call:
    return _in_one_transaction if ATOMIC_DISPATCH.get() else partial(_one_by_one, buffer, Outside())


def _deliver(
    delivery: Delivery, receivers: dict[str, NamedReceiver], buffer: ResultBuffer, call: _Call
) -> None:
    calls = None
    try:
        calls = _calls(delivery, receivers, buffer)
        if calls:
            call(calls)
    except (OperationalError, InterfaceError, DatabaseUnavailable, SystemExit) as error:
        buffer.interrupted[delivery.pk] = calls.remaining if calls else delivery.receivers
        if isinstance(error, DatabaseUnavailable | SystemExit):
            raise
        raise DatabaseUnavailable(type(error).__name__) from error
    except SoftTimeLimitExceeded:
        # Between the receivers, which is no fault of the event's. But one that takes too long to be read
        # is left to its lease, and counts as a worker death.
        if calls:
            buffer.interrupted[delivery.pk] = calls.remaining
        raise


def _is_shutting_down() -> bool:
    # billiard's handler of SIGTERM raises SystemExit wherever the process is: at the hard limit, or when
    # a supervisor stops the worker with all its children. No fault of the receiver's.
    return bool(billiard.common._should_have_exited[0])  # type: ignore[attr-defined]


def _calls(delivery: Delivery, receivers: dict[str, NamedReceiver], buffer: ResultBuffer) -> "_Calls | None":
    """The calls to be made for the event; None where it cannot be read."""
    try:
        calls = _Calls(delivery, receivers, buffer.lease)
    except Unreadable as error:
        results.move_to_dead_letters(delivery, buffer.lease, str(error))
        counters.count(counters.DEAD_LETTER_ON_ARRIVAL)
        return None
    except Unavailable as error:
        results.schedule_retry(delivery, buffer.lease, delivery.receivers, str(error))
        return None
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (a fault of ours, which costs this one alone)
        noun, said = buffer.lease.kind.noun.capitalize(), traceback.format_exception_only(error)[-1].strip()
        # What it says may hold an address; the pending delivery keeps it.
        logger.error("%s %d could not be read: %s", noun, delivery.pk, type(error).__name__)
        results.schedule_retry(delivery, buffer.lease, delivery.receivers, f"It could not be read: {said}")
        return None
    buffer.without_receiver += not calls.remaining
    return calls


def _one_by_one(buffer: ResultBuffer, outside: Outside, calls: _Calls) -> None:
    calls.make(lambda: outside)
    if calls.remaining:
        _save_progress(calls)
    else:
        buffer.done.append(calls.delivery.pk)


def _in_one_transaction(calls: _Calls) -> None:
    """What the receivers write and the event's result commit together, or not at all."""
    using = router.db_for_write(PendingDelivery)
    pk, lease = calls.delivery.pk, calls.lease
    try:
        with transaction.atomic(using=using):
            transactions.end_when_idle(using, lease_duration_ms())
            if not leased([pk], lease).select_for_update().values_list("pk"):
                return  # another worker has it
            calls.make(partial(transactions.inside, using))
            if calls.remaining:
                _save_progress(calls)
            else:
                results.delete_done([pk], lease)
    except (OperationalError, InterfaceError, DatabaseUnavailable, SystemExit, SoftTimeLimitExceeded):
        calls.remaining = dict(calls.delivery.receivers)
        raise
    except Exception as error:  # noqa: BLE001 (a constraint that is checked at the commit, say)
        # None of it is kept, so all receivers are called again. (Where it was only a receiver's
        # on_commit that raised, all of it is kept, and the row is gone.)
        transactions.reset(using)
        blame = "" if isinstance(error, TransactionLost) else traceback.format_exc()
        calls.remaining = {name: calls.remaining.get(name) or blame for name in calls.wanted}
        calls.failed = True
        noun = lease.kind.noun
        logger.error("The transaction around %s %d failed: %s", noun, pk, type(error).__name__)
        _save_progress(calls)


def _save_progress(calls: _Calls) -> None:
    if calls.failed:
        results.schedule_retry(calls.delivery, calls.lease, calls.remaining)
    else:
        results.release(calls.delivery, calls.lease, calls.remaining)
