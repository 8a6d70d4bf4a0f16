"""Stored events and inbound mails -> receivers. A receiver's failure never affects the next receiver."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeAlias

import billiard.common
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from events_app import sql
from events_app.conf import ATOMIC_DISPATCH, RECEIVER_MAX_ATTEMPTS
from events_app.decode import Unreadable
from events_app.dispatch import results, transactions
from events_app.dispatch.kinds import EVENTS, Unavailable
from events_app.dispatch.leases import (
    Delivery,
    Lease,
    events_database,
    lease_duration_ms,
    leased,
    take_expired,
)
from events_app.dispatch.results import ResultBuffer
from events_app.dispatch.transactions import Outside, TransactionLost
from events_app.shared import counters, tracing
from events_app.shared.counting import count, flush, observe
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.log import failures
from events_app.shared.log.floods import limited_logger
from events_app.signals import ESP_NAME, NamedReceiver, webhook_views

logger = limited_logger(__name__)

_RECEIVER_UNKNOWN = (
    "No receiver of this name is connected in this worker. Start a worker with this receiver. "
    "If the receiver was removed for good, replay the event for the connected receivers."
)


#: Whether an exception of a receiver is to come out of the dispatcher, once the failure is recorded.
Raises: TypeAlias = Callable[[BaseException], bool]

#: Seconds of recovery (and at least one event) before recovery yields to fresh events.
RECOVERY_SLICE = 1.0


def deliver(deliveries: Sequence[Delivery], lease: Lease, raises: Raises = lambda _: False) -> bool:
    """Call the receivers of these deliveries. When the budget ends first, release the rest and return False.

    The first delivery starts even without budget, so every call makes progress.
    Raises DatabaseUnavailable and counts no failure; the current delivery is orphaned. Raises the first
    exception of a receiver for which `raises` is true; the other receivers of the delivery wait for a retry.
    """
    buffer = ResultBuffer(lease)
    receivers = {
        webhook: _receivers(webhook, lease) for webhook in {delivery.webhook for delivery in deliveries}
    }
    call = _call_strategy(buffer, raises)
    begun = 0
    try:
        for delivery in deliveries:
            if (begun and not lease.has_budget()) or not lease.is_held():
                break
            buffer.write_when_due()
            begun += 1
            is_over = _deliver(delivery, receivers[delivery.webhook], buffer, call)
            if is_over and not (delivery.failures or delivery.worker_deaths or delivery.replay):
                buffer.first_attempts.append((time.time(), delivery.row.received_at))
    finally:
        buffer.released += [delivery.pk for delivery in deliveries[begun:]]
        buffer.close()
    # When the budget is over, the last event may have stopped between two receivers.
    return begun == len(deliveries) and (begun == 0 or lease.has_budget())


def recover(lease: Lease, yields: Callable[[], bool]) -> bool:
    """Take over expired deliveries one by one. Return False when the budget ended first.

    After `RECOVERY_SLICE`, recovery stops when `yields` returns True: fresh events wait.
    Raises DatabaseUnavailable, and any error from `yields`.
    """
    slice_ends = time.monotonic() + RECOVERY_SLICE
    while lease.has_budget():
        delivery = take_expired(lease)
        if delivery is None:
            return True
        flush()  # the delivery may kill this process
        buffer = ResultBuffer(lease)
        try:
            call = _call_strategy(buffer, raises=lambda _: False)
            _deliver(delivery, _receivers(delivery.webhook, lease), buffer, call)
        finally:
            # This event was alone when the database went away, so the event may be the cause. Let the
            # lease expire, which counts one worker death.
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
    """The calls of a pending delivery's receivers."""

    def __init__(self, delivery: Delivery, receivers: dict[str, NamedReceiver], buffer: ResultBuffer) -> None:
        self.delivery, self.receivers, self.lease = delivery, receivers, buffer.lease
        self._successes = buffer.successes
        self._event = delivery.event or self.lease.kind.read(delivery.row)
        #: Receivers that have not succeeded yet, each with the traceback of its last failure.
        self.remaining = dict(delivery.receivers) or dict.fromkeys(
            self.lease.kind.signal.chosen(self._event, receivers), ""
        )
        # In the order of connection: PostgreSQL reorders the names in its JSON.
        self.wanted = (
            *(name for name in receivers if name in self.remaining),
            *(self.remaining.keys() - receivers),
        )
        self.failed = False
        #: The exception that is to come out of the dispatcher.
        self.error: BaseException | None = None

    def make(self, guard: Callable[[], AbstractContextManager[None]], raises: Raises) -> None:
        """Call the receivers, each inside a `guard`; set `remaining`, `failed` and `error`.

        Raises DatabaseUnavailable, TransactionLost, or SystemExit when this process is told to end.
        """
        if self.delivery.failures:
            count(counters.EVENTS_RETRIED)
        for number, name in enumerate(self.wanted):
            if number and not self.lease.has_budget():
                break  # every receiver gets its full time limit
            if name not in self.receivers:
                # Names in rows may come from anywhere, and a label must have few values.
                self._record_failure(name, _RECEIVER_UNKNOWN, "unknown", "unknown")
                text = "Receiver %s is not connected in this worker: it missed %s %d"
                logger.error(text, name, self.lease.kind.noun, self.delivery.pk, extra=self._fields(name))
                continue
            started = time.perf_counter()
            try:
                with self._traced(name, guard) if self.delivery.traceparent else guard():
                    self._call(self.receivers[name])
            except BaseException as error:  # a receiver may raise anything
                if transactions.is_connection_lost(events_database()):
                    raise DatabaseUnavailable(type(error).__name__) from error
                # billiard's SIGTERM handler raises SystemExit in the middle of a receiver: at the hard limit,
                # or when a supervisor stops the worker and its children. The receiver is not to blame.
                if isinstance(error, SystemExit) and billiard.common._should_have_exited[0]:  # type: ignore[attr-defined]
                    raise
                observe(counters.RECEIVER_SECONDS, [time.perf_counter() - started], name)
                timed_out = isinstance(error, SoftTimeLimitExceeded)
                outcome = "timed_out" if timed_out else "failed"
                self._record_failure(name, traceback.format_exc(), name, outcome)
                self._report(name, error)
                if isinstance(error, TransactionLost):
                    raise
                if raises(error):
                    self.error = error
                    break
            else:
                del self.remaining[name]
                self._successes[name].append(time.perf_counter() - started)

    def _call(self, receiver: NamedReceiver) -> None:
        # Each receiver gets a new event: reading it again costs less than a deep copy.
        event, self._event = self._event or self.lease.kind.read(self.delivery.row), None
        receiver.call(
            signal=self.lease.kind.signal,
            sender=webhook_views.get(self.delivery.webhook),
            event=event,
            esp_name=ESP_NAME,
            attempt=self.delivery.attempt,
            replay=self.delivery.replay,
        )

    @contextmanager
    def _traced(self, name: str, guard: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """The guard of a receiver inside a span."""
        delivery = self.delivery
        attributes: dict[str, str | int] = {
            "messaging.system": "sendgrid",
            f"sendgrid.{self.lease.kind.log_field}": delivery.pk,
            "sendgrid.attempt": delivery.attempt,
            "sendgrid.replay": delivery.replay,
        }
        if self.lease.kind is EVENTS:
            attributes |= {
                "sendgrid.event_type": delivery.row.event_type,
                "messaging.message.id": delivery.row.message_id,
            }
        with (
            tracing.resume(
                delivery.traceparent, f"receiver {name}", "INTERNAL", attributes, delivery.sent_by
            ),
            guard(),
        ):
            yield

    def _record_failure(self, name: str, error: str, *labels: str) -> None:
        self.remaining[name] = error
        self.failed = True
        count(counters.RECEIVER_CALLS, *labels)

    def _report(self, name: str, error: BaseException) -> None:
        # A receiver's error may contain an address: the pending delivery keeps it, the log does not.
        fields = self._fields(name)
        failures.report(
            "Receiver %s failed on %s %d, attempt %d of %d",
            *(name, self.lease.kind.noun, self.delivery.pk, fields["attempt"], RECEIVER_MAX_ATTEMPTS.get()),
            error=error,
            packages=failures.packages_of(self.receivers[name].receiver),
            fields=fields,
        )

    def _fields(self, name: str) -> dict[str, object]:
        """The fields of a log line about a receiver's failure."""
        attempt = self.delivery.failures + 1
        return {**self.delivery.log_fields(self.lease.kind), "receiver": name, "attempt": attempt}


_Call: TypeAlias = Callable[[_Calls], None]


def _call_strategy(buffer: ResultBuffer, raises: Raises) -> _Call:
    if ATOMIC_DISPATCH.get():
        return partial(_in_one_transaction, raises=raises)
    outside = Outside()

    def call_one_by_one(calls: _Calls) -> None:
        calls.make(lambda: outside, raises)
        if calls.remaining:
            _save_progress(calls)
        else:
            buffer.done.append(calls.delivery.pk)

    return call_one_by_one


def _deliver(
    delivery: Delivery, receivers: dict[str, NamedReceiver], buffer: ResultBuffer, call: _Call
) -> bool:
    """Make the attempt. False if this worker left receivers to another worker."""
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
        # Between two receivers the event is not to blame. An event that takes too long to read is: let its
        # lease expire, which counts one worker death.
        if calls:
            buffer.interrupted[delivery.pk] = calls.remaining
        raise
    if calls and calls.error:
        raise calls.error
    return calls is None or calls.failed or not calls.remaining


def _calls(delivery: Delivery, receivers: dict[str, NamedReceiver], buffer: ResultBuffer) -> "_Calls | None":
    """The calls to make for the delivery; None when its row cannot be read."""
    try:
        calls = _Calls(delivery, receivers, buffer)
    except Unreadable as error:
        results.move_to_dead_letters(delivery, buffer.lease, str(error))
        return None
    except Unavailable as error:
        results.schedule_retry(delivery, buffer.lease, delivery.receivers, str(error))
        return None
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (our own bug must not stop the other deliveries)
        # The error's text may contain an address: the pending delivery keeps it, the log does not.
        noun, error_text = buffer.lease.kind.noun, traceback.format_exception_only(error)[-1].strip()
        fields = delivery.log_fields(buffer.lease.kind)
        failures.report("Could not read %s %d", noun, delivery.pk, error=error, fields=fields)
        why = f"Could not read the {noun}: {error_text}"
        results.schedule_retry(delivery, buffer.lease, delivery.receivers, why)
        return None
    buffer.without_receiver += not calls.remaining
    return calls


def _in_one_transaction(calls: _Calls, raises: Raises) -> None:
    """Commit the receivers' writes and the delivery's result together, or neither."""
    using = events_database()
    is_inner = connections[using].in_atomic_block  # in the transaction of a test
    pk, lease = calls.delivery.pk, calls.lease
    try:
        with transaction.atomic(using=using):
            if not is_inner:
                sql.end_when_idle(using, lease_duration_ms())
            if not leased([pk], lease).select_for_update().values_list("pk"):
                return  # another worker holds the lease
            calls.make(partial(transactions.inside, using), raises)
            if calls.remaining:
                _save_progress(calls)
            else:
                results.delete_done([pk], lease)
    except (OperationalError, InterfaceError, DatabaseUnavailable, SystemExit, SoftTimeLimitExceeded):
        calls.remaining = dict(calls.delivery.receivers)
        raise
    except Exception as error:  # noqa: BLE001 (for example a constraint checked at the commit)
        # The transaction is rolled back, so all receivers are called again. (If only a receiver's on_commit
        # function raised, the transaction is committed, and the row is gone.)
        if not is_inner:
            transactions.reset(using)
        calls.error = error if raises(error) else None
        blame = "" if isinstance(error, TransactionLost) else traceback.format_exc()
        calls.remaining = {name: calls.remaining.get(name) or blame for name in calls.wanted}
        calls.failed = True
        text, fields = "The transaction around %s %d failed", calls.delivery.log_fields(lease.kind)
        failures.report(text, lease.kind.noun, pk, error=error, fields=fields)
        _save_progress(calls)


def _save_progress(calls: _Calls) -> None:
    if calls.failed:
        results.schedule_retry(calls.delivery, calls.lease, calls.remaining)
    else:
        results.release_delivery(calls.delivery, calls.lease, calls.remaining)
