"""Retries, replays and discards on an operator's request.

A retry brings a failed delivery forward. A replay calls the receivers again after success or dead letter. A
discard gives a dead letter up: nobody calls its receivers again.
Every write is conditional on the row's state, so a delivery leased by a worker is never touched.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import (
    MOST_WORKER_DEATHS,
    ORPHANED,
    events_database,
    pending_rows,
    stored_rows,
)
from events_app.models import AbstractPendingDelivery
from events_app.shared import counters
from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.counting import count
from events_app.shared.database import database_now
from events_app.signals import webhook_views

_DEAD_LETTERS = Q(state=AbstractPendingDelivery.State.DEAD_LETTER)
# Not "state is pending": PostgreSQL could then use the index of leased deliveries, whose key is not the id.
_PENDING = ~_DEAD_LETTERS
_FREE = Q(lease=None) | Q(lease=ORPHANED)
_TO_RETRY = _PENDING & _FREE & (Q(failures__gt=0) | Q(replay=True))
# No receiver failed, or too many workers died: a worker takes this delivery alone, since the delivery might
# kill the worker and so interrupt its neighbours.
_ALONE = Q(failures=0) | Q(worker_deaths__gte=MOST_WORKER_DEATHS)


def retry(pks: Sequence[int], kind: Kind = EVENTS, operator: Operator = BY_HAND) -> Counter[str]:
    """Make dead letters and deferred retries due now.

    Return numbers of deliveries: `retried`, and `in_progress` for those left alone, because a worker has the
    lease. Failures are not reset: a delivery at the limit becomes a dead letter after the next failure.
    """
    counts = count_in_progress(pks, kind)
    due_now = {"due": database_now(events_database()), "error": ""}
    revived = {**due_now, "state": AbstractPendingDelivery.State.PENDING}
    with transaction.atomic(using=events_database()):
        rows = _locked(_pending(pks, kind).filter(_DEAD_LETTERS | _TO_RETRY))
        retried = _pending(rows, kind).filter(_TO_RETRY).update(**due_now)
        retried += _pending(rows, kind).filter(_DEAD_LETTERS, ~_ALONE).update(lease=None, **revived)
        retried += _pending(rows, kind).filter(_DEAD_LETTERS, _ALONE).update(lease=ORPHANED, **revived)
        operator.record(rows)
    count(counters.EVENTS_RETRIED_BY_OPERATOR, by=retried)
    counts["retried"] = retried
    return counts


def retryable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """The rows `retry` would retry."""
    return _stored(pks, kind).filter(pending__in=_pending(pks, kind).filter(_DEAD_LETTERS | _TO_RETRY))


def count_in_progress(pks: Sequence[int], kind: Kind = EVENTS) -> Counter[str]:
    """Numbers of rows that `retry` leaves alone, by reason."""
    return Counter(in_progress=_pending(pks, kind).filter(_PENDING).exclude(_FREE).count())


def replay(
    pks: Sequence[int], names: Sequence[str], kind: Kind = EVENTS, operator: Operator = BY_HAND
) -> Counter[str]:
    """Deliver done rows and dead letters again, to the receivers of these names; no names: all receivers.

    Return numbers of rows: `replayed`, and `pending` for rows left alone, because a delivery is pending.
    """
    columns = {
        "state": AbstractPendingDelivery.State.PENDING,
        "lease": None,
        "due": database_now(events_database()),
        "failures": 0,
        "worker_deaths": 0,
        "replay": True,
        "receivers": dict.fromkeys(names, ""),
        "error": "",
    }
    counts = count_pending(pks, kind)
    with transaction.atomic(using=events_database()):
        # Locked against removal at the end of retention, and against a second replay at the same time.
        stored = _stored(pks, kind).order_by("pk").select_for_update(no_key=True)
        stored_pks = list(stored.values_list("pk", flat=True))
        replayed = _locked(_pending(stored_pks, kind).filter(_DEAD_LETTERS))
        _pending(replayed, kind).filter(_DEAD_LETTERS).update(**columns)
        pending_pks = set(_pending(stored_pks, kind).values_list("pk", flat=True))
        new = [
            kind.pending_model(**{f"{kind.pending_model.ROW_FIELD}_id": pk}, **columns)
            for pk in stored_pks
            if pk not in pending_pks
        ]
        pending_rows(kind).bulk_create(new, ignore_conflicts=True)
        replayed += [delivery.pk for delivery in new]
        operator.record(replayed)
    count(counters.EVENTS_REPLAYED, by=len(replayed))
    counts["replayed"] = len(replayed)
    return counts


def replayable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """The rows `replay` would replay."""
    return _stored(pks, kind).filter(
        Q(pending__isnull=True) | Q(pending__state=AbstractPendingDelivery.State.DEAD_LETTER)
    )


def count_pending(pks: Sequence[int], kind: Kind = EVENTS) -> Counter[str]:
    """Numbers of rows that `replay` leaves alone, by reason."""
    return Counter(pending=_pending(pks, kind).filter(_PENDING).count())


def discard(pks: Sequence[int], kind: Kind = EVENTS, operator: Operator = BY_HAND) -> Counter[str]:
    """Delete dead letters. The stored rows stay, and count as done. Return the number of `discarded` rows."""
    with transaction.atomic(using=events_database()):
        rows = _locked(_pending(pks, kind).filter(_DEAD_LETTERS))
        _pending(rows, kind).filter(_DEAD_LETTERS).delete()
        operator.record(rows)
    return Counter(discarded=len(rows))


def discardable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """The rows `discard` would discard."""
    return _stored(pks, kind).filter(pending__in=_pending(pks, kind).filter(_DEAD_LETTERS))


def connected_receivers(kind: Kind = EVENTS) -> list[str]:
    """The names of the receivers connected in this process."""
    senders = webhook_views.values()
    return sorted({receiver.name for sender in senders for receiver in kind.signal.named_receivers(sender)})


def _locked(rows: "QuerySet[AbstractPendingDelivery]") -> list[int]:
    """Lock the rows in order, like every multi-row write, and return their ids."""
    return list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))


def _pending(pks: Sequence[int], kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return pending_rows(kind).filter(pk__in=sorted(pks))


def _stored(pks: Sequence[int], kind: Kind) -> "QuerySet[Any]":
    return stored_rows(kind).filter(pk__in=sorted(pks))
