"""What is at the end of its retention goes, in slices, so that no lock is held for long."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import router, transaction

from events_app.conf import RETENTION_DAYS
from events_app.dispatch.kinds import Kind
from events_app.dispatch.leases import Lease, pending_rows, stored_rows
from events_app.models import AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import database_now

logger = logging.getLogger(__name__)

#: Events one transaction looks at, and removes at the most.
SLICE = 1000


class Removed(NamedTuple):
    """The rows that one transaction has removed."""

    #: One value of each row.
    values: list[Any]
    #: How many of them were dead letters.
    dead_letters: int


def prune(lease: Lease) -> bool:
    """Remove events that came longer ago than EVENT_RETENTION_DAYS. False when the budget ended first.

    A pending delivery stays until it is done or a dead letter. Raises what the database raises.
    """
    days = RETENTION_DAYS.get()
    return days is None or remove(lease, days, SLICE, "id", _count)


def remove(lease: Lease, days: int, size: int, column: str, then: Callable[[Removed], None]) -> bool:
    """The same for any kind of thing: what came longer ago than `days`, `size` rows at a time.

    `then` is told of what has gone, each row by its value in `column`, once that is committed.
    """
    before = database_now(_using()) - timedelta(days=days)
    last: int | None = 0
    while last is not None:
        if not lease.has_budget():
            return False
        last, gone = _remove_slice(lease.kind, last, before, size, column)
        then(gone)
    return True


def _count(gone: Removed) -> None:
    counters.count(counters.PRUNED, len(gone.values))
    counters.count(counters.PRUNED_DEAD_LETTER, gone.dead_letters)
    if gone.dead_letters:
        logger.warning("Removed %d dead letters at the end of their retention", gone.dead_letters)


def _remove_slice(
    kind: Kind, after: int, before: datetime, size: int, column: str
) -> tuple[int | None, Removed]:
    """Look at the rows after the id `after`; answer the last id, or None at the first young slice.

    Ids follow the order in which rows were stored, and that is about the order in which they came.
    """
    with transaction.atomic(using=_using()):
        found = list(
            stored_rows(kind).filter(pk__gt=after).order_by("pk").values_list("pk", "received_at")[:size]
        )
        old = [pk for pk, received_at in found if received_at < before]
        if not old:
            return None, Removed([], 0)
        # Locked, as a replay locks them: it creates a pending delivery before we look for it, or never.
        locked = stored_rows(kind).filter(pk__in=old).order_by("pk").select_for_update()
        there = list(locked.values_list("pk", column))
        pending = pending_rows(kind).filter(pk__in=old)
        still_pending = set(
            pending.filter(state=AbstractPendingDelivery.State.PENDING).values_list("pk", flat=True)
        )
        going = {pk: value for pk, value in there if pk not in still_pending}
        dead_letters, _ = pending.filter(pk__in=going).delete()
        stored_rows(kind).filter(pk__in=going).delete()
    return found[-1][0] if len(found) == size else None, Removed(list(going.values()), dead_letters)


def _using() -> str:
    return router.db_for_write(PendingDelivery)
