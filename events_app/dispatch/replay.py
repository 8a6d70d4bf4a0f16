"""What an operator asks for once more: failed events tried again now, settled ones called anew.

Every write has the condition that the row still is what it was: a delivery that a worker has leased
stays that worker's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import router, transaction
from django.db.models import Q, QuerySet

from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import MOST_WORKER_DEATHS, ORPHANED, pending_rows, stored_rows
from events_app.models import AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import database_now
from events_app.signals import webhook_views

_DEAD_LETTERS = Q(state=AbstractPendingDelivery.State.DEAD_LETTER)
_PENDING = Q(state=AbstractPendingDelivery.State.PENDING)
_FREE = Q(lease=None) | Q(lease=ORPHANED)
_TO_RETRY = _PENDING & _FREE & (Q(failures__gt=0) | Q(replay=True))
# No receiver has raised, or too many workers have died: among others it might take them along.
_ALONE = Q(failures=0) | Q(worker_deaths__gte=MOST_WORKER_DEATHS)


class Retried(NamedTuple):
    """What came of asking for retries."""

    retried: int
    #: Left alone: a worker has them in hand.
    in_progress: int


class Replayed(NamedTuple):
    """What came of asking for replays."""

    replayed: int
    #: Left alone: they are pending already.
    pending: int


def retry(pks: Sequence[int], kind: Kind = EVENTS) -> Retried:
    """Retry now those of the events, or inbound mails, that are dead letters, or deferred to a later time.

    The count of their failures goes on: at its limit one more failure is the last.
    """
    in_progress = _pending(pks, kind).filter(_PENDING).exclude(_FREE).count()
    now = {"due": database_now(_using()), "error": ""}
    again = {**now, "state": AbstractPendingDelivery.State.PENDING}
    retried = _pending(pks, kind).filter(_TO_RETRY).update(**now)
    retried += _pending(pks, kind).filter(_DEAD_LETTERS, ~_ALONE).update(lease=None, **again)
    retried += _pending(pks, kind).filter(_DEAD_LETTERS, _ALONE).update(lease=ORPHANED, **again)
    counters.count(counters.RETRIED_BY_OPERATOR, retried)
    return Retried(retried, in_progress)


def retryable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """What `retry` would take."""
    return _stored(pks, kind).filter(pending__in=_pending(pks, kind).filter(_DEAD_LETTERS | _TO_RETRY))


def replay(pks: Sequence[int], names: Sequence[str], kind: Kind = EVENTS) -> Replayed:
    """Have the receivers of these names, or all, called anew with those that are done or dead."""
    columns = {
        "state": AbstractPendingDelivery.State.PENDING,
        "lease": None,
        "due": database_now(_using()),
        "failures": 0,
        "worker_deaths": 0,
        "replay": True,
        "receivers": dict.fromkeys(names, ""),
        "error": "",
    }
    pending = _pending(pks, kind).filter(_PENDING).count()
    replayed = _pending(pks, kind).filter(_DEAD_LETTERS).update(**columns)
    with transaction.atomic(using=_using()):
        # Locked, so that none is removed at the end of its retention, or replayed by somebody else.
        stored = _stored(pks, kind).order_by("pk").select_for_update(no_key=True)
        there = list(stored.values_list("pk", flat=True))
        taken = set(_pending(there, kind).values_list("pk", flat=True))
        new = [
            kind.pending_model(**{f"{kind.pending_model.ROW_FIELD}_id": pk}, **columns)
            for pk in there
            if pk not in taken
        ]
        pending_rows(kind).bulk_create(new, ignore_conflicts=True)
    counters.count(counters.REPLAYED, replayed + len(new))
    return Replayed(replayed + len(new), pending)


def replayable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """What `replay` would take."""
    return _stored(pks, kind).filter(
        Q(pending__isnull=True) | Q(pending__state=AbstractPendingDelivery.State.DEAD_LETTER)
    )


def connected_receivers(kind: Kind = EVENTS) -> list[str]:
    """The names of the receivers that are called in this process."""
    senders = webhook_views.values()
    return sorted({receiver.name for sender in senders for receiver in kind.signal.named_receivers(sender)})


def _using() -> str:
    return router.db_for_write(PendingDelivery)


def _pending(pks: Sequence[int], kind: Kind) -> "QuerySet[AbstractPendingDelivery]":
    return pending_rows(kind).filter(pk__in=sorted(pks))


def _stored(pks: Sequence[int], kind: Kind) -> "QuerySet[Any]":
    return stored_rows(kind).filter(pk__in=sorted(pks))
