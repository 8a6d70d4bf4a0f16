"""Pending deliveries wait in lanes. A worker that leases a delivery has it alone until the lease ends."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections

from events_app.dispatch import leases
from events_app.dispatch.leases import MOST_WORKER_DEATHS, ORPHANED, Delivery, Lease
from events_app.models import Event, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import database_now
from tests.support.databases import on_postgresql
from tests.support.events.leases import (
    dead_letters,
    leased_ids,
    make_due,
    out_of_budget,
    out_of_lease,
    store_leased,
    take_expired,
)

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


RELEASED, TO_RETRY, EXPIRED = "released", "to retry", "expired"

LOOK: dict[str, Callable[[], bool]] = {
    RELEASED: leases.anything_released,
    TO_RETRY: leases.anything_to_retry,
    EXPIRED: leases.anything_expired,
}
TAKE: dict[str, Callable[[Lease, int], list[Delivery]]] = {
    RELEASED: leases.take_released,
    TO_RETRY: leases.take_retries,
    EXPIRED: take_expired,
}
#: What puts work into a lane.
INTO: dict[str, dict[str, object]] = {
    RELEASED: {"lease": None},
    TO_RETRY: {"lease": None, "failures": 1},
    EXPIRED: {"lease": 17},
}

every_lane = pytest.mark.parametrize("lane", TAKE)


def taken_from() -> list[str]:
    """The lanes that had something to take."""
    return [lane for lane, take in TAKE.items() if take(Lease(), 10)]


def lanes() -> list[str]:
    return [lane for lane, look in LOOK.items() if look()]


# The claim


def test_soft_limit_hard_limit_and_lease_are_in_ascending_order(anymail: Callable[..., None]) -> None:
    anymail(RECEIVER_TIME_LIMIT=45)
    assert leases.soft_limit() == leases.BUDGET + 45
    assert leases.soft_limit() < leases.hard_limit() < leases.lease_duration().total_seconds()
    assert leases.lease_duration_ms() == leases.lease_duration().total_seconds() * 1000


def test_lease_tokens_are_unique_and_never_the_orphaned_token() -> None:
    tokens = {Lease().token for _ in range(100)}
    assert len(tokens) == 100
    assert all(ORPHANED < token < 2**63 for token in tokens)


def test_a_lease_outlives_its_budget() -> None:
    lease = Lease()
    assert (lease.has_budget(), lease.is_held()) == (True, True)
    assert (out_of_budget(lease).has_budget(), out_of_budget(lease).is_held()) == (False, True)
    assert (out_of_lease(lease).has_budget(), out_of_lease(lease).is_held()) == (False, False)


def test_only_pending_rows_with_its_token_belong_to_a_lease(database: str) -> None:
    mine, other = Lease(), Lease()
    pks = [item.pk for item in store_leased("A1", "B2", lease=mine) + store_leased("C3", lease=other)]
    PendingDelivery.objects.filter(pk=pks[0]).update(state="dead")
    assert [work.pk for work in leases.leased(pks, mine)] == [pks[1]]


# The lanes


@pytest.mark.parametrize(
    ("lane", "changes"),
    [
        (RELEASED, {"lease": None}),
        (RELEASED, {"lease": None, "worker_deaths": 3, "receivers": {"shop": ""}}),
        (TO_RETRY, {"lease": None, "failures": 1}),
        (TO_RETRY, {"lease": None, "replay": True}),
        (TO_RETRY, {"lease": None, "failures": 2, "worker_deaths": 1, "replay": True}),
        (EXPIRED, {"lease": 17}),
        (EXPIRED, {"lease": ORPHANED}),
        (EXPIRED, {"lease": 17, "failures": 2, "replay": True}),
    ],
)
def test_pending_work_waits_in_exactly_one_lane(database: str, lane: str, changes: dict[str, object]) -> None:
    store_leased("A1", lease=Lease())
    make_due(database, **changes)
    assert lanes() == [lane]
    assert taken_from() == [lane]
    assert lanes() == taken_from() == []


@every_lane
def test_dead_letters_and_work_due_later_are_in_no_lane(database: str, lane: str) -> None:
    store_leased("A1", lease=Lease())
    PendingDelivery.objects.update(**INTO[lane], due=database_now(database) + timedelta(hours=1))
    assert lanes() == taken_from() == []
    make_due(database, state="dead")
    assert lanes() == taken_from() == []


def test_leased_work_is_in_no_lane(database: str) -> None:
    store_leased("A1", lease=Lease())
    assert lanes() == taken_from() == []


@every_lane
def test_taken_work_is_leased_until_the_lease_expires(database: str, lane: str) -> None:
    (stored,) = store_leased("A1", lease=Lease())
    receivers = {"shop": "Traceback"}
    make_due(
        database, **INTO[lane] | {"worker_deaths": 2, "receivers": receivers, "replay": lane == TO_RETRY}
    )
    lease = Lease()
    before = database_now(database)
    (item,) = TAKE[lane](lease, 10)
    work = PendingDelivery.objects.get()
    assert (work.lease, work.state) == (lease.token, "pending")
    assert before + leases.lease_duration() <= work.due <= database_now(database) + leases.lease_duration()
    assert (item.pk, item.webhook, item.event) == (stored.pk, "tracking", None)
    assert bytes(item.row.raw) == bytes(stored.row.raw)
    assert item.receivers == work.receivers == receivers
    assert (item.failures, item.worker_deaths, item.replay) == (
        work.failures,
        work.worker_deaths,
        work.replay,
    )
    assert item.replay is (lane == TO_RETRY)
    assert item.worker_deaths == (3 if lane == EXPIRED else 2)


@on_postgresql
@every_lane
def test_a_locked_row_is_skipped_without_waiting(database: str, lane: str) -> None:
    first, _ = store_leased("A1", "B2", lease=Lease())
    make_due(database, **INTO[lane])
    with locked(database, first.pk):
        assert leased_ids(TAKE[lane](Lease(), 10)) == ["B2"]
        assert TAKE[lane](Lease(), 10) == []
    assert leased_ids(TAKE[lane](Lease(), 10)) == ["A1"]


@contextmanager
def locked(database: str, pk: int) -> Iterator[None]:
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM events_app_pendingdelivery WHERE event_id = %s FOR UPDATE", [pk])
        yield
        cursor.execute("ROLLBACK")  # answered once the lock is gone, as a hang-up is not


@every_lane
def test_concurrent_workers_never_lease_the_same_event(database: str, lane: str) -> None:
    deliveries = store_leased(*(f"{number:03d}" for number in range(60)), lease=Lease())
    make_due(database, **INTO[lane])
    together = Barrier(4)

    def work(_: int) -> list[int]:
        together.wait()
        found: list[int] = []
        try:
            while batch := TAKE[lane](Lease(), 7):
                found += [item.pk for item in batch]
        finally:
            connections.close_all()
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [pk for part in pool.map(work, range(4)) for pk in part]
    # Each may have passed over what another was just about to take and then did not.
    found += [item.pk for _ in deliveries for item in TAKE[lane](Lease(), 60)]
    assert sorted(found) == sorted(item.pk for item in deliveries)


# Released


def test_released_work_is_taken_oldest_first_up_to_a_limit(database: str) -> None:
    oldest_first = sorted(item.pk for item in store_leased("A1", "B2", "C3", "D4", lease=Lease()))
    make_due(database, lease=None)
    assert [item.pk for item in leases.take_released(Lease(), 3)] == oldest_first[:3]
    assert [item.pk for item in leases.take_released(Lease(), 3)] == oldest_first[3:]


def test_taking_zero_released_rows_runs_no_query() -> None:
    assert leases.take_released(Lease(), 0) == []


# To retry


def test_retries_are_taken_longest_due_first_up_to_a_limit(database: str) -> None:
    deliveries = store_leased("A1", "B2", "C3", lease=Lease())
    for item, seconds in zip(deliveries, [10, 30, 20], strict=True):
        due = database_now(database) - timedelta(seconds=seconds)
        PendingDelivery.objects.filter(pk=item.pk).update(lease=None, failures=1, due=due)
    assert leased_ids(leases.take_retries(Lease(), 2)) == ["B2", "C3"]
    assert leased_ids(leases.take_retries(Lease(), 2)) == ["A1"]


# Expired


def test_an_expired_event_is_taken_alone_and_its_worker_death_counted(database: str) -> None:
    store_leased("A1", "B2", lease=Lease())
    make_due(database)
    lease = Lease()
    (item,) = take_expired(lease, 1)
    assert item.worker_deaths == 1
    assert PendingDelivery.objects.get(lease=lease.token).worker_deaths == 1
    assert PendingDelivery.objects.exclude(lease=lease.token).get().worker_deaths == 0
    assert counters.read_counters() == {"events_recovered": 1}


def test_too_many_worker_deaths_make_an_event_a_dead_letter_and_spare_its_neighbour(database: str) -> None:
    store_leased("poison", lease=Lease())
    for _ in range(MOST_WORKER_DEATHS):
        make_due(database)
        assert leases.take_expired(Lease())
    make_due(database)
    store_leased("innocent", lease=Lease())
    PendingDelivery.objects.filter(worker_deaths=0).update(due=database_now(database))
    assert leased_ids(take_expired(Lease(), 1)) == ["innocent"]
    (work,) = dead_letters()
    assert (work.lease, work.worker_deaths, work.event.event_id) == (None, MOST_WORKER_DEATHS, "poison")
    assert work.error == f"Given up: its worker died or overran its time, {MOST_WORKER_DEATHS + 1} times."
    assert counters.read_counters() == {
        "events_recovered": MOST_WORKER_DEATHS + 1,
        "dead_letters worker_died": 1,
    }
    assert leases.take_expired(Lease()) is None


@every_lane
def test_the_delivery_of_a_deleted_event_goes_when_its_lease_expires(database: str, lane: str) -> None:
    store_leased("A1", "B2", lease=Lease())
    make_due(database, **INTO[lane])
    Event.objects.filter(event_id="A1").delete()
    taken = [*TAKE[lane](Lease(), 10), *TAKE[lane](Lease(), 10)]
    assert leased_ids(taken) == ["B2"]
    make_due(database)
    assert leased_ids(take_expired(Lease(), 1)) == ["B2"]
    assert leases.take_expired(Lease()) is None
    assert PendingDelivery.objects.get().event.event_id == "B2"


@pytest.mark.parametrize("worker_deaths", [0, MOST_WORKER_DEATHS])
def test_an_orphaned_event_counts_no_worker_death(database: str, worker_deaths: int) -> None:
    store_leased("A1", lease=Lease())
    make_due(database, lease=ORPHANED, worker_deaths=worker_deaths)
    lease = Lease()
    (item,) = take_expired(lease, 1)
    assert item.worker_deaths == worker_deaths
    assert PendingDelivery.objects.get().lease == lease.token
