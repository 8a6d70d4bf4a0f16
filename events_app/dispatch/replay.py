"""What an operator asks for once more: failed events tried again now, settled ones called anew.

Every write stands under the condition that the row still is what it was: work that a worker has in
hand stays that worker's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import router, transaction
from django.db.models import Q, QuerySet

from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import MOST_DEATHS, NOBODY, kept, rows
from events_app.models import Owing, Work
from events_app.shared import counters
from events_app.shared.database import database_now
from events_app.signals import doors

_DEAD = Q(state=Owing.State.DEAD)
_OWED = Q(state=Owing.State.OWED)
_FREE = Q(claim=None) | Q(claim=NOBODY)
_PUT_OFF = _OWED & _FREE & (Q(failures__gt=0) | Q(replay=True))
# No receiver has raised, or too many workers have died: among others it might take them along.
_ALONE = Q(failures=0) | Q(lapses__gte=MOST_DEATHS)


class Retried(NamedTuple):
    """What came of asking for retries."""

    retried: int
    #: Left alone: a worker has them in hand.
    in_progress: int


class Replayed(NamedTuple):
    """What came of asking for replays."""

    replayed: int
    #: Left alone: their receivers are owed them already.
    owed: int


def retry(pks: Sequence[int], kind: Kind = EVENTS) -> Retried:
    """Have those of the events, or inbound mails, that are dead, or put off to a later time, tried again now.

    The count of their failures goes on: at its limit one more failure is the last.
    """
    in_progress = _work(pks, kind).filter(_OWED).exclude(_FREE).count()
    now = {"due": database_now(_using()), "error": ""}
    again = {**now, "state": Owing.State.OWED}
    retried = _work(pks, kind).filter(_PUT_OFF).update(**now)
    retried += _work(pks, kind).filter(_DEAD, ~_ALONE).update(claim=None, **again)
    retried += _work(pks, kind).filter(_DEAD, _ALONE).update(claim=NOBODY, **again)
    counters.count(counters.RETRIED_BY_HAND, retried)
    return Retried(retried, in_progress)


def retryable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """What `retry` would take."""
    return _kept(pks, kind).filter(work__in=_work(pks, kind).filter(_DEAD | _PUT_OFF))


def replay(pks: Sequence[int], names: Sequence[str], kind: Kind = EVENTS) -> Replayed:
    """Have the receivers of these names, or all, called anew with those that are done or dead."""
    work = {
        "state": Owing.State.OWED,
        "claim": None,
        "due": database_now(_using()),
        "failures": 0,
        "lapses": 0,
        "replay": True,
        "receivers": dict.fromkeys(names, ""),
        "error": "",
    }
    owed = _work(pks, kind).filter(_OWED).count()
    replayed = _work(pks, kind).filter(_DEAD).update(**work)
    with transaction.atomic(using=_using()):
        # Locked, so that none is removed at the end of its retention, or replayed by somebody else.
        stored = _kept(pks, kind).order_by("pk").select_for_update(no_key=True)
        there = list(stored.values_list("pk", flat=True))
        taken = set(_work(there, kind).values_list("pk", flat=True))
        new = [kind.work(**{f"{kind.work.OF}_id": pk}, **work) for pk in there if pk not in taken]
        rows(kind).bulk_create(new, ignore_conflicts=True)
    counters.count(counters.REPLAYED, replayed + len(new))
    return Replayed(replayed + len(new), owed)


def replayable(pks: Sequence[int], kind: Kind = EVENTS) -> "QuerySet[Any]":
    """What `replay` would take."""
    return _kept(pks, kind).filter(Q(work__isnull=True) | Q(work__state=Owing.State.DEAD))


def connected(kind: Kind = EVENTS) -> list[str]:
    """The names of the receivers that are called in this process."""
    senders = doors.values()
    return sorted({receiver.name for sender in senders for receiver in kind.signal.named_receivers(sender)})


def _using() -> str:
    return router.db_for_write(Work)


def _work(pks: Sequence[int], kind: Kind) -> "QuerySet[Owing]":
    return rows(kind).filter(pk__in=sorted(pks))


def _kept(pks: Sequence[int], kind: Kind) -> "QuerySet[Any]":
    return kept(kind).filter(pk__in=sorted(pks))
