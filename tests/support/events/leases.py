"""Leased, expired and failed deliveries of events."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from events_app import normalize as tables
from events_app.dispatch import leases, store
from events_app.dispatch.leases import Delivery, Lease
from events_app.models import PendingDelivery
from events_app.shared.database import database_now
from tests.support.events.stored_events import open_event, stream_entries


def store_leased(*event_ids: str, lease: Lease) -> list[Delivery]:
    return store.store(stream_entries(*map(open_event, event_ids)), lease).deliveries


def out_of_budget(lease: Lease) -> Lease:
    return replace(lease, started=lease.started - leases.BUDGET)


def out_of_lease(lease: Lease) -> Lease:
    return replace(lease, started=lease.started - leases.lease_duration().total_seconds())


def make_due(database: str, **changes: object) -> None:
    """Make all pending deliveries due now; leased ones expire."""
    PendingDelivery.objects.update(due=database_now(database) - timedelta(seconds=1), **changes)


def pending_ids() -> list[str]:
    return sorted(PendingDelivery.objects.filter(state="pending").values_list("event__event_id", flat=True))


def take_expired(lease: Lease, _: int) -> list[Delivery]:
    taken = leases.take_expired(lease)
    return [taken] if taken else []


def leased_ids(deliveries: Sequence[Delivery]) -> list[str | None]:
    return [tables.read_event(delivery.row.raw)[1].event_id for delivery in deliveries]


def dead_letters() -> list[PendingDelivery]:
    return list(PendingDelivery.objects.filter(state=PendingDelivery.State.DEAD_LETTER).order_by("pk"))


#: A lease's token.
TOKEN = 4711

#: The pending receivers of a delivery that failed.
FAILED = {"shop": "Traceback"}


def later(database: str, seconds: int = 3600) -> Any:
    return database_now(database) + timedelta(seconds=seconds)
