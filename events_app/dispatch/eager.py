"""The work of workers in a test run: at once, in the caller's thread, without Redis and a broker.

All rows stand in the caller's transaction, if there is one.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db.models import Q

from events_app.dispatch import dispatcher, store
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import ORPHANED, Lease, pending_rows, take
from events_app.models import PENDING
from events_app.stream import Entry

_WAITING = PENDING & (Q(lease=None) | Q(lease=ORPHANED))

_recording = False


@contextmanager
def record_failures() -> Iterator[None]:
    """Inside, an exception of a receiver is recorded as a worker does, and does not come out.

    The delivery waits for a retry, or becomes a dead letter after RECEIVER_MAX_ATTEMPTS. Also a decorator.
    """
    global _recording  # noqa: PLW0603 (not for a single thread: a live server has another)
    before, _recording = _recording, True
    try:
        yield
    finally:
        _recording = before


def deliver_events(webhook: str, events: Sequence[bytes]) -> None:
    """Store the raw events of a post and call their receivers.

    Raises an exception of a receiver, unless failures are recorded. The other events then wait.
    """
    lease = _unlimited(EVENTS)
    entries = [Entry(b"%d-0" % int(time.time() * 1000), webhook, list(events))] if events else []
    dispatcher.deliver(store.store(entries, lease).deliveries, lease, _raises)


def deliver_waiting(kind: Kind, **condition: object) -> int:
    """Make each waiting delivery once, due or not; return their number. Raises as `deliver_events` does."""
    lease = _unlimited(kind)
    deliveries = take(pending_rows(kind).filter(_WAITING, **condition).order_by("pk"), lease)
    dispatcher.deliver(deliveries, lease, _raises)
    return len(deliveries)


def _unlimited(kind: Kind) -> Lease:
    # Nothing waits for a test that stops in a debugger.
    return Lease(started=math.inf, kind=kind)


def _raises(error: BaseException) -> bool:
    # An exception that is no Exception ends the test: KeyboardInterrupt, or pytest's own.
    return not (_recording and isinstance(error, Exception))
