"""Owed work waits in lanes, and whoever takes it has it alone, for as long as the lease lasts."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections

from events_app.dispatch import leases
from events_app.dispatch.kinds import Owed
from events_app.dispatch.leases import MOST_DEATHS, NOBODY, Claim
from events_app.models import Work
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


RELEASED, TO_RETRY, LAPSED = "released", "to retry", "lapsed"

LOOK: dict[str, Callable[[], bool]] = {
    RELEASED: leases.anything_released,
    TO_RETRY: leases.anything_to_retry,
    LAPSED: leases.anything_lapsed,
}
TAKE: dict[str, Callable[[Claim, int], list[Owed]]] = {
    RELEASED: leases.take_released,
    TO_RETRY: leases.take_retries,
    LAPSED: take_expired,
}
#: What puts work into a lane.
INTO: dict[str, dict[str, object]] = {
    RELEASED: {"claim": None},
    TO_RETRY: {"claim": None, "failures": 1},
    LAPSED: {"claim": 17},
}

every_lane = pytest.mark.parametrize("lane", TAKE)


def taken_from() -> list[str]:
    """The lanes that had something to take."""
    return [lane for lane, take in TAKE.items() if take(Claim(), 10)]


def lanes() -> list[str]:
    return [lane for lane, look in LOOK.items() if look()]


# The claim


def test_soft_limit_hard_limit_and_lease_are_in_ascending_order(anymail: Callable[..., None]) -> None:
    anymail(RECEIVER_TIME_LIMIT=45)
    assert leases.soft_limit() == leases.BUDGET + 45
    assert leases.soft_limit() < leases.hard_limit() < leases.lease().total_seconds()
    assert leases.lease_ms() == leases.lease().total_seconds() * 1000


def test_lease_tokens_are_unique_and_never_the_orphaned_token() -> None:
    tokens = {Claim().token for _ in range(100)}
    assert len(tokens) == 100
    assert all(NOBODY < token < 2**63 for token in tokens)


def test_a_lease_outlives_its_budget() -> None:
    claim = Claim()
    assert (claim.has_budget(), claim.is_held()) == (True, True)
    assert (out_of_budget(claim).has_budget(), out_of_budget(claim).is_held()) == (False, True)
    assert (out_of_lease(claim).has_budget(), out_of_lease(claim).is_held()) == (False, False)


def test_only_pending_rows_with_its_token_belong_to_a_lease(database: str) -> None:
    mine, other = Claim(), Claim()
    pks = [item.pk for item in store_leased("A1", "B2", claim=mine) + store_leased("C3", claim=other)]
    Work.objects.filter(pk=pks[0]).update(state="dead")
    assert [work.pk for work in leases.claimed(pks, mine)] == [pks[1]]


# The lanes


@pytest.mark.parametrize(
    ("lane", "changes"),
    [
        (RELEASED, {"claim": None}),
        (RELEASED, {"claim": None, "lapses": 3, "receivers": {"shop": ""}}),
        (TO_RETRY, {"claim": None, "failures": 1}),
        (TO_RETRY, {"claim": None, "replay": True}),
        (TO_RETRY, {"claim": None, "failures": 2, "lapses": 1, "replay": True}),
        (LAPSED, {"claim": 17}),
        (LAPSED, {"claim": NOBODY}),
        (LAPSED, {"claim": 17, "failures": 2, "replay": True}),
    ],
)
def test_pending_work_waits_in_exactly_one_lane(database: str, lane: str, changes: dict[str, object]) -> None:
    store_leased("A1", claim=Claim())
    make_due(database, **changes)
    assert lanes() == [lane]
    assert taken_from() == [lane]
    assert lanes() == taken_from() == []


@every_lane
def test_dead_letters_and_work_due_later_are_in_no_lane(database: str, lane: str) -> None:
    store_leased("A1", claim=Claim())
    Work.objects.update(**INTO[lane], due=database_now(database) + timedelta(hours=1))
    assert lanes() == taken_from() == []
    make_due(database, state="dead")
    assert lanes() == taken_from() == []


def test_leased_work_is_in_no_lane(database: str) -> None:
    store_leased("A1", claim=Claim())
    assert lanes() == taken_from() == []


@every_lane
def test_taken_work_is_leased_until_the_lease_expires(database: str, lane: str) -> None:
    (stored,) = store_leased("A1", claim=Claim())
    receivers = {"shop": "Traceback"}
    make_due(database, **INTO[lane] | {"lapses": 2, "receivers": receivers, "replay": lane == TO_RETRY})
    claim = Claim()
    before = database_now(database)
    (item,) = TAKE[lane](claim, 10)
    work = Work.objects.get()
    assert (work.claim, work.state) == (claim.token, "owed")
    assert before + leases.lease() <= work.due <= database_now(database) + leases.lease()
    assert (item.pk, item.door, item.event) == (stored.pk, "tracking", None)
    assert bytes(item.row.raw) == bytes(stored.row.raw)
    assert item.receivers == work.receivers == receivers
    assert (item.failures, item.lapses, item.replay) == (work.failures, work.lapses, work.replay)
    assert item.replay is (lane == TO_RETRY)
    assert item.lapses == (3 if lane == LAPSED else 2)


@on_postgresql
@every_lane
def test_a_locked_row_is_skipped_without_waiting(database: str, lane: str) -> None:
    first, _ = store_leased("A1", "B2", claim=Claim())
    make_due(database, **INTO[lane])
    with locked(database, first.pk):
        assert leased_ids(TAKE[lane](Claim(), 10)) == ["B2"]
        assert TAKE[lane](Claim(), 10) == []
    assert leased_ids(TAKE[lane](Claim(), 10)) == ["A1"]


@contextmanager
def locked(database: str, pk: int) -> Iterator[None]:
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM events_app_work WHERE event_id = %s FOR UPDATE", [pk])
        yield
        cursor.execute("ROLLBACK")  # answered once the lock is gone, as a hang-up is not


@every_lane
def test_concurrent_workers_never_lease_the_same_event(database: str, lane: str) -> None:
    owed = store_leased(*(f"{number:03d}" for number in range(60)), claim=Claim())
    make_due(database, **INTO[lane])
    together = Barrier(4)

    def work(_: int) -> list[int]:
        together.wait()
        found: list[int] = []
        try:
            while batch := TAKE[lane](Claim(), 7):
                found += [item.pk for item in batch]
        finally:
            connections.close_all()
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [pk for part in pool.map(work, range(4)) for pk in part]
    # Each may have passed over what another was just about to take and then did not.
    found += [item.pk for _ in owed for item in TAKE[lane](Claim(), 60)]
    assert sorted(found) == sorted(item.pk for item in owed)


# Released


def test_released_work_is_taken_oldest_first_up_to_a_limit(database: str) -> None:
    oldest_first = sorted(item.pk for item in store_leased("A1", "B2", "C3", "D4", claim=Claim()))
    make_due(database, claim=None)
    assert [item.pk for item in leases.take_released(Claim(), 3)] == oldest_first[:3]
    assert [item.pk for item in leases.take_released(Claim(), 3)] == oldest_first[3:]


def test_taking_zero_released_rows_runs_no_query() -> None:
    assert leases.take_released(Claim(), 0) == []


# To retry


def test_retries_are_taken_longest_due_first_up_to_a_limit(database: str) -> None:
    owed = store_leased("A1", "B2", "C3", claim=Claim())
    for item, seconds in zip(owed, [10, 30, 20], strict=True):
        due = database_now(database) - timedelta(seconds=seconds)
        Work.objects.filter(pk=item.pk).update(claim=None, failures=1, due=due)
    assert leased_ids(leases.take_retries(Claim(), 2)) == ["B2", "C3"]
    assert leased_ids(leases.take_retries(Claim(), 2)) == ["A1"]


# Lapsed


def test_an_expired_event_is_taken_alone_and_its_worker_death_counted(database: str) -> None:
    store_leased("A1", "B2", claim=Claim())
    make_due(database)
    claim = Claim()
    (item,) = take_expired(claim, 1)
    assert item.lapses == 1
    assert Work.objects.get(claim=claim.token).lapses == 1
    assert Work.objects.exclude(claim=claim.token).get().lapses == 0
    assert counters.read() == {"recovered": 1}


def test_too_many_worker_deaths_make_an_event_a_dead_letter_and_spare_its_neighbour(database: str) -> None:
    store_leased("poison", claim=Claim())
    for _ in range(MOST_DEATHS):
        make_due(database)
        assert leases.take_lapsed(Claim())
    make_due(database)
    store_leased("innocent", claim=Claim())
    Work.objects.filter(lapses=0).update(due=database_now(database))
    assert leased_ids(take_expired(Claim(), 1)) == ["innocent"]
    (work,) = dead_letters()
    assert (work.claim, work.lapses, work.event.event_id) == (None, MOST_DEATHS, "poison")
    assert work.error == f"Given up: its worker died or overran its time, {MOST_DEATHS + 1} times."
    assert counters.read() == {"recovered": MOST_DEATHS + 1, "worker_died": 1}
    assert leases.take_lapsed(Claim()) is None


@pytest.mark.parametrize("lapses", [0, MOST_DEATHS])
def test_an_orphaned_event_counts_no_worker_death(database: str, lapses: int) -> None:
    store_leased("A1", claim=Claim())
    make_due(database, claim=NOBODY, lapses=lapses)
    claim = Claim()
    (item,) = take_expired(claim, 1)
    assert item.lapses == lapses
    assert Work.objects.get().claim == claim.token
