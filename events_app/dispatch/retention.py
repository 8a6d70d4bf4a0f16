"""Removes events and inbound mails at the end of their retention."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

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

    rows: int
    #: The dead letters among them.
    dead_letters: int
    #: Each row's value in the column that was asked for.
    values: list[Any]


def remove_old_events(lease: Lease) -> bool:
    """Remove events older than EVENT_RETENTION_DAYS. Return whether all are removed.

    The budget of the lease may end first. A pending delivery stays until it is done or a dead letter. Raises
    a database error.
    """

    def count_removed(removed: Removed) -> None:
        count(counters.EVENTS_PRUNED, by=removed.rows)
        count(counters.DEAD_LETTERS_PRUNED, by=removed.dead_letters)
        if removed.dead_letters:
            logger.warning("Removed %d dead letters at the end of their retention", removed.dead_letters)

    days = RETENTION_DAYS.get()
    return days is None or remove_old_rows(lease, days, SLICE, count_removed)


def remove_old_rows(
    lease: Lease, days: int, size: int, then: Callable[[Removed], None], column: str = ""
) -> bool:
    """Remove rows of the lease's kind older than `days`, `size` rows at a time.

    After each commit `then` gets the rows that were removed, with their values in `column`. False when the
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
    old = stored_rows(kind).filter(in_slice, received_at__lt=before)
    while True:
        with suppress(_DeliveredAgain), transaction.atomic(using=events_database()):
            _of_no_row(kind, in_slice).delete()  # somebody else has deleted the row
            values = dict(old.values_list("pk", column)) if column else {}
            owed = pending_rows(kind).filter(in_slice, state=AbstractPendingDelivery.State.PENDING)
            rows = old.exclude(pk__in=owed.values("pk")).delete()[1].get(old.model._meta.label, 0)
            dead_letters = _remove_deliveries_of_removed(kind, in_slice)
            for pk in old.values_list("pk", flat=True) if values else ():
                values.pop(pk, None)
            return Removed(rows, dead_letters, list(values.values()))


def _remove_deliveries_of_removed(kind: Kind, in_slice: Q) -> int:
    """Remove the dead letters of the removed rows. Return their number."""
    deliveries = _of_no_row(kind, in_slice).order_by("pk").select_for_update()
    states = dict(deliveries.values_list("pk", "state"))
    # An operator has retried or replayed a dead letter, or replayed a done event, while the rows were
    # removed. This transaction sees that only now, behind the operator's locks.
    if AbstractPendingDelivery.State.PENDING in states.values():
        raise _DeliveredAgain
    pending_rows(kind).filter(AnyOf("pk", list(states))).delete()
    return len(states)


def _of_no_row(kind: Kind, in_slice: Q) -> "QuerySet[AbstractPendingDelivery]":
    """The deliveries whose row is gone."""
    return pending_rows(kind).filter(in_slice, ~Exists(stored_rows(kind).filter(pk=OuterRef("pk"))))


class _DeliveredAgain(Exception):
    """A row that was about to be removed is to be delivered again."""
