"""Removes events and inbound mails at the end of their retention."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q

from events_app.conf import RETENTION_DAYS
from events_app.dispatch.kinds import Kind
from events_app.dispatch.leases import Lease, events_database, pending_rows, stored_rows
from events_app.models import AbstractPendingDelivery
from events_app.shared import counters
from events_app.shared.counting import count
from events_app.shared.database import AnyOf, database_now, next_slice, remove_old

logger = logging.getLogger(__name__)

#: Events that one transaction looks at.
SLICE = 5000


class Removed(NamedTuple):
    """The rows that one transaction has removed."""

    #: One value of each row.
    values: list[Any]
    #: How many of them were dead letters.
    dead_letters: int


def remove_old_events(lease: Lease) -> bool:
    """Remove events older than EVENT_RETENTION_DAYS. Return whether all are removed.

    The budget of the lease may end first. A pending delivery stays until it is done or a dead letter. Raises
    a database error.
    """

    def count_removed(removed: Removed) -> None:
        count(counters.EVENTS_PRUNED, by=len(removed.values))
        count(counters.DEAD_LETTERS_PRUNED, by=removed.dead_letters)
        if removed.dead_letters:
            logger.warning("Removed %d dead letters at the end of their retention", removed.dead_letters)

    days = RETENTION_DAYS.get()
    return days is None or remove_old_rows(lease, days, SLICE, "id", count_removed)


def remove_old_rows(lease: Lease, days: int, size: int, column: str, then: Callable[[Removed], None]) -> bool:
    """Remove rows of the lease's kind older than `days`, `size` rows at a time.

    After each commit `then` gets the rows that were removed, each by its value in `column`. False when the
    budget ended first. Raises a database error.
    """
    rows = stored_rows(lease.kind)
    before = database_now(events_database()) - timedelta(days=days)
    return remove_old(
        lambda after: next_slice(rows, after, size, "received_at"),
        before,
        lambda in_slice: then(_remove(lease.kind, in_slice, before, column)),
        lease.has_budget,
    )


def _remove(kind: Kind, in_slice: Q, before: datetime, column: str) -> Removed:
    rows, deliveries = stored_rows(kind), pending_rows(kind)
    with transaction.atomic(using=events_database()):
        # A replay takes the same locks, so its pending delivery is there now, or never comes.
        old = rows.filter(in_slice, received_at__lt=before).order_by("pk").select_for_update()
        locked = list(old.values_list("pk", column))
        # An operator's retry takes these locks, so a dead letter stays one. Without locks on the others: a
        # receiver may hold them for long.
        dead = deliveries.filter(in_slice, state=AbstractPendingDelivery.State.DEAD_LETTER)
        locked_dead = set(dead.order_by("pk").select_for_update().values_list("pk", flat=True))
        kept = set(deliveries.filter(in_slice).values_list("pk", flat=True)) - locked_dead
        removed = {pk: value for pk, value in locked if pk not in kept}
        dead_letters = sorted(removed.keys() & locked_dead)
        deliveries.filter(AnyOf("pk", dead_letters)).delete()
        rows.filter(AnyOf("pk", list(removed))).delete()
    return Removed(list(removed.values()), len(dead_letters))
