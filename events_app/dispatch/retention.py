"""What is at the end of its retention goes, in slices, so that no lock is held for long."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import router, transaction

from events_app.conf import RETENTION_DAYS
from events_app.dispatch.kinds import Kind
from events_app.dispatch.leases import Claim, kept, rows
from events_app.models import Owing, Work
from events_app.shared import counters
from events_app.shared.database import database_now

logger = logging.getLogger(__name__)

#: Events one transaction looks at, and removes at the most.
SLICE = 1000


class Gone(NamedTuple):
    """What one transaction has removed."""

    #: One value of each row.
    values: list[Any]
    #: How many of them were dead.
    dead: int


def prune(claim: Claim) -> bool:
    """Remove events that came longer ago than EVENT_RETENTION_DAYS. False when the budget ended first.

    What a receiver is still owed stays until it is done or dead. Raises what the database raises.
    """
    days = RETENTION_DAYS.get()
    return days is None or remove(claim, days, SLICE, "id", _count)


def remove(claim: Claim, days: int, size: int, column: str, then: Callable[[Gone], None]) -> bool:
    """The same for any kind of thing: what came longer ago than `days`, `size` rows at a time.

    `then` is told of what has gone, each row by its value in `column`, once that is committed.
    """
    before = database_now(_using()) - timedelta(days=days)
    last: int | None = 0
    while last is not None:
        if not claim.has_budget():
            return False
        last, gone = _remove_slice(claim.kind, last, before, size, column)
        then(gone)
    return True


def _count(gone: Gone) -> None:
    counters.count(counters.PRUNED, len(gone.values))
    counters.count(counters.PRUNED_DEAD, gone.dead)
    if gone.dead:
        logger.warning("Removed %d events that were dead, at the end of their retention", gone.dead)


def _remove_slice(
    kind: Kind, after: int, before: datetime, size: int, column: str
) -> tuple[int | None, Gone]:
    """Look at the rows after the id `after`; answer the last id, or None at the first young slice.

    Ids follow the order in which rows were stored, and that is about the order in which they came.
    """
    with transaction.atomic(using=_using()):
        found = list(kept(kind).filter(pk__gt=after).order_by("pk").values_list("pk", "received_at")[:size])
        old = [pk for pk, received_at in found if received_at < before]
        if not old:
            return None, Gone([], 0)
        # Locked, as a replay locks them: it opens work either before we look for it, or never.
        locked = kept(kind).filter(pk__in=old).order_by("pk").select_for_update()
        there = list(locked.values_list("pk", column))
        work = rows(kind).filter(pk__in=old)
        owed = set(work.filter(state=Owing.State.OWED).values_list("pk", flat=True))
        going = {pk: value for pk, value in there if pk not in owed}
        dead, _ = work.filter(pk__in=going).delete()
        kept(kind).filter(pk__in=going).delete()
    return found[-1][0] if len(found) == size else None, Gone(list(going.values()), dead)


def _using() -> str:
    return router.db_for_write(Work)
