"""Events are removed at the end of their retention, and not before. Pending events are kept."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from devstack.process import wait_for
from events_app.dispatch import leases, replay, retention
from events_app.dispatch.leases import Lease
from events_app.models import Event, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import database_now
from tests.support.databases import database_away, on_postgresql
from tests.support.events.leases import out_of_budget
from tests.support.events.stored_events import store_aged, stored_pks

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def thirty_days(anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=30)


@pytest.fixture
def slices_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 3)


def make_pending(database: str, pk: int, **fields: object) -> None:
    PendingDelivery.objects.create(event_id=pk, due=database_now(database), **fields)


def test_retention_removes_old_events_and_keeps_young_ones(database: str) -> None:
    _, _, *young = store_aged(database, 400, 30.01, 29.99, 0)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == young
    assert counters.read_counters() == {"events_pruned": 2}


def test_without_the_retention_setting_all_events_are_kept(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(EVENT_RETENTION_DAYS=0)
    old = store_aged(database, 4000)
    assert retention.remove_old_events(Lease())
    assert (stored_pks(), counters.read_counters()) == (old, {})


def test_retention_of_an_empty_table_removes_nothing(database: str) -> None:
    assert retention.remove_old_events(Lease())
    assert counters.read_counters() == {}


@pytest.mark.parametrize("lease", [None, 17, leases.ORPHANED])
def test_retention_keeps_pending_events_until_they_are_done(database: str, lease: int | None) -> None:
    _, pending = store_aged(database, 40, 40)
    make_pending(database, pending, lease=lease, failures=3)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == [pending]
    assert PendingDelivery.objects.get().event_id == pending
    PendingDelivery.objects.all().delete()
    assert retention.remove_old_events(Lease())
    assert stored_pks() == []


def test_retention_removes_old_dead_letters_and_counts_them(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, dead, young = store_aged(database, 40, 40, 0)
    for pk in (dead, young):
        make_pending(database, pk, state="dead")
    assert retention.remove_old_events(Lease())
    assert stored_pks() == [young]
    assert PendingDelivery.objects.get().event_id == young
    assert counters.read_counters() == {"events_pruned": 2, "dead_letters_pruned": 1}
    assert caplog.messages == ["Removed 1 dead letters at the end of their retention"]


@pytest.mark.parametrize("state", PendingDelivery.State)
def test_retention_removes_the_deliveries_of_events_that_others_have_deleted(
    database: str, state: PendingDelivery.State
) -> None:
    deleted, _, owed = store_aged(database, 40, 40, 40)
    for pk in (deleted, owed):
        make_pending(database, pk, state=state if pk == deleted else "pending")
    Event.objects.filter(pk=deleted).delete()
    assert retention.remove_old_events(Lease())
    assert stored_pks() == [owed]
    assert PendingDelivery.objects.get().event_id == owed
    assert counters.read_counters() == {"events_pruned": 1}


@pytest.mark.usefixtures("slices_of_three")
@pytest.mark.parametrize("count", [2, 3, 4, 9, 10])
def test_retention_goes_through_all_slices(database: str, count: int) -> None:
    store_aged(database, *[40] * count)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == []
    assert counters.read_counters() == {"events_pruned": count}


@pytest.mark.usefixtures("slices_of_three")
def test_a_slice_of_pending_events_hides_no_old_events_behind_it(database: str) -> None:
    pks = store_aged(database, *[40] * 7)
    for pk in pks[:6]:
        make_pending(database, pk)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == pks[:6]


@pytest.mark.usefixtures("slices_of_three")
def test_an_old_event_among_young_ones_is_removed_once_its_neighbours_are_old(
    database: str, anymail: Callable[..., None]
) -> None:
    _, young, _, *slice_of_young, late = store_aged(database, 40, 29, 40, 29, 29, 29, 40)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == [young, *slice_of_young, late]
    anymail(EVENT_RETENTION_DAYS=28)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == []


@pytest.mark.usefixtures("slices_of_three")
def test_a_young_event_in_a_slice_does_not_end_the_round(database: str) -> None:
    _, young, *_ = store_aged(database, 40, 29, 40, 40, 40)
    assert retention.remove_old_events(Lease())
    assert stored_pks() == [young]


@pytest.mark.usefixtures("slices_of_three")
def test_retention_stops_out_of_budget_and_the_next_run_continues(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pks = store_aged(database, *[40] * 7)
    assert not retention.remove_old_events(out_of_budget(Lease()))
    assert stored_pks() == pks
    budget = iter([True, True, False])
    monkeypatch.setattr(Lease, "has_budget", lambda _: next(budget))
    assert not retention.remove_old_events(Lease())
    assert stored_pks() == pks[6:]
    monkeypatch.undo()
    anew = Lease()
    assert retention.remove_old_events(anew)
    assert stored_pks() == []


def test_retention_raises_when_the_database_is_away(database: str) -> None:
    with database_away(database), pytest.raises(DatabaseError):
        retention.remove_old_events(Lease())


def test_retention_does_not_read_the_content_of_events(database: str) -> None:
    store_aged(database, *[40] * 20)
    with CaptureQueriesContext(connections[database]) as queries:
        assert retention.remove_old_events(Lease())
    assert stored_pks() == []
    assert not [query for query in queries.captured_queries if "raw" in query["sql"]]
    deletes = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("DELETE")]
    assert len(deletes) == 2  # the second looks for deliveries whose event others have deleted


def retry(pk: int) -> int:
    return replay.retry([pk])["retried"]


def replay_to_all(pk: int) -> int:
    return replay.replay([pk], [])["replayed"]


@on_postgresql
@pytest.mark.parametrize(
    ("act", "dead"),
    [(retry, True), (replay_to_all, True), (replay_to_all, False)],
    ids=["retry", "replay a dead letter", "replay a done event"],
)
# Before retention reads what is owed, before it deletes the event, and before it looks again.
@pytest.mark.parametrize("at", ["SELECT", 'DELETE FROM "events_app_event"', "FOR UPDATE"])
def test_an_event_is_removed_or_delivered_again_but_never_both(
    database: str, act: Callable[[int], int], dead: bool, at: str
) -> None:
    (pk,) = store_aged(database, 40)
    if dead:
        make_pending(database, pk, state="dead", failures=15, receivers={"receiver": "failed"})

    def operate() -> int:
        try:
            return act(pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        answers: list[Future[int]] = []

        def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if at in sql and not answers:
                answers.append(pool.submit(operate))
                wait_for(
                    lambda: answers[0].done() or waits_for_a_lock(database), seconds=30, what="the operator"
                )
            return call(sql, params, many, context)

        with connections[database].execute_wrapper(execute):
            assert retention.remove_old_events(Lease())
        acted = answers[0].result()
    assert (stored_pks(), PendingDelivery.objects.count()) == (([pk], 1) if acted else ([], 0))


def waits_for_a_lock(database: str) -> bool:
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])
