"""Leased, expired and failed deliveries of events."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from events_app import normalize as tables
from events_app.dispatch import leases, store
from events_app.dispatch.kinds import Owed
from events_app.dispatch.leases import Claim
from events_app.models import Work
from events_app.shared.database import database_now
from tests.support.events.stored_events import open_event, stream_entries


def store_leased(*event_ids: str, claim: Claim) -> list[Owed]:
    return store.store(stream_entries(*map(open_event, event_ids)), claim).owed


def out_of_budget(claim: Claim) -> Claim:
    return replace(claim, started=claim.started - leases.BUDGET)


def out_of_lease(claim: Claim) -> Claim:
    return replace(claim, started=claim.started - leases.lease().total_seconds())


def make_due(database: str, **changes: object) -> None:
    """Make all pending deliveries due now; leased ones expire."""
    Work.objects.update(due=database_now(database) - timedelta(seconds=1), **changes)


def pending_ids() -> list[str]:
    return sorted(Work.objects.filter(state="owed").values_list("event__event_id", flat=True))


def take_expired(claim: Claim, _: int) -> list[Owed]:
    taken = leases.take_lapsed(claim)
    return [taken] if taken else []


def leased_ids(owed: Sequence[Owed]) -> list[str | None]:
    return [tables.read(item.row.raw)[1].event_id for item in owed]


def dead_letters() -> list[Work]:
    return list(Work.objects.filter(state=Work.State.DEAD).order_by("pk"))


#: A lease's token.
TOKEN = 4711

#: The pending receivers of a delivery that failed.
FAILED = {"shop": "Traceback"}


def later(database: str, seconds: int = 3600) -> Any:
    return database_now(database) + timedelta(seconds=seconds)
