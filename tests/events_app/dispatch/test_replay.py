"""Retries and replays happen once, and never touch a delivery leased by a worker."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import models, tasks
from events_app.dispatch import leases, replay
from events_app.models import Event, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import database_now
from events_app.signals import ReceiverSignal
from tests.support.databases import on_postgresql, plans_without_primary_key
from tests.support.events.leases import FAILED, TOKEN, later
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.examples import examples
from tests.support.recorded_calls import Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def lane(work: PendingDelivery) -> str:
    """The one lane of a pending delivery, or "dead"."""
    rows = PendingDelivery.objects.filter(pk=work.pk)
    if work.state == PendingDelivery.State.DEAD_LETTER:
        assert work.lease is None
        return "dead"
    lanes = {"released": models.RELEASED, "to retry": models.TO_RETRY, "expired": models.LEASED}
    (found,) = [name for name, condition in lanes.items() if rows.filter(condition).exists()]
    return found


@on_postgresql
@pytest.mark.parametrize("act", [replay.retry, lambda pks: replay.replay(pks, []), replay.discard])
def test_deliveries_are_found_by_id_alone(database: str, act: Callable[[list[int]], object]) -> None:
    """PostgreSQL would prefer the indexes of lanes, with all deliveries done since the last vacuum."""
    first, second, third = store_done(*(open_event(name) for name in ("A1", "B2", "C3")))
    add_pending(first, state="dead", failures=15, receivers=FAILED)
    add_pending(second, failures=1, due=later(database), receivers=FAILED)
    add_pending(third, lease=TOKEN)
    table = "events_app_pendingdelivery"
    plans = plans_without_primary_key(database, table, lambda: act([first, second, third]))
    assert not {"pending_leased", "pending_to_retry"} & set(re.findall(r"\w+", plans))


# retry


def test_retry_makes_dead_letters_due_for_their_failed_receivers(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(
        pk,
        state="dead",
        failures=15,
        worker_deaths=2,
        due=later(database),
        receivers=FAILED,
        error="Given up.",
    )
    assert replay.retry([pk]) == {"retried": 1, "in_progress": 0}
    work = PendingDelivery.objects.get()
    assert (work.state, work.lease, work.failures, work.worker_deaths) == ("pending", None, 15, 2)
    assert (work.receivers, work.error) == (FAILED, "")
    assert (work.due <= database_now(database), lane(work)) == (True, "to retry")
    assert counters.read_counters() == {"events_retried_by_operator": 1}


@pytest.mark.parametrize(
    "found",
    [
        {"error": "The element is not JSON."},
        {"worker_deaths": leases.MOST_WORKER_DEATHS, "error": "Given up: its worker died."},
        {"worker_deaths": leases.MOST_WORKER_DEATHS, "failures": 3, "error": "Given up: its worker died."},
        {"worker_deaths": leases.MOST_WORKER_DEATHS, "replay": True, "error": "Given up: its worker died."},
    ],
)
def test_retry_orphans_dead_letters_without_a_failed_receiver(database: str, found: dict[str, Any]) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", **found)
    assert replay.retry([pk]) == {"retried": 1, "in_progress": 0}
    work = PendingDelivery.objects.get()
    assert (work.state, work.lease, lane(work)) == ("pending", leases.ORPHANED, "expired")
    assert leases.take_expired(leases.Lease()) is not None


@pytest.mark.parametrize("found", [{"failures": 3}, {"replay": True}, {"failures": 1, "replay": True}])
def test_retry_makes_backed_off_events_due(database: str, found: dict[str, Any]) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, due=later(database), **found)
    assert replay.retry([pk]) == {"retried": 1, "in_progress": 0}
    assert (leases.anything_to_retry(), lane(PendingDelivery.objects.get())) == (True, "to retry")


def test_retry_keeps_an_orphaned_event_orphaned(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, failures=1, lease=leases.ORPHANED)
    assert replay.retry([pk]) == {"retried": 1, "in_progress": 0}
    assert PendingDelivery.objects.get().lease == leases.ORPHANED


def test_retry_leaves_leased_events_alone(database: str) -> None:
    pks = store_done(open_event("A1"), open_event("B2"))
    due = later(database)
    add_pending(pks[0], failures=2, lease=TOKEN, due=due)
    add_pending(pks[1], lease=TOKEN, due=due)
    assert replay.retry(pks) == {"retried": 0, "in_progress": 2}
    assert set(PendingDelivery.objects.values_list("lease", "due")) == {(TOKEN, due)}
    assert counters.read_counters() == {}


def test_retry_ignores_events_without_failures(database: str) -> None:
    pks = store_done(open_event("A1"), open_event("B2"))
    due = later(database)
    add_pending(pks[0], due=due)
    assert replay.retry(pks) == {"retried": 0, "in_progress": 0}
    assert PendingDelivery.objects.get().due == due


def test_retry_takes_only_the_given_events(database: str) -> None:
    pks = store_done(open_event("A1"), open_event("B2"))
    for pk in pks:
        add_pending(pk, state="dead", failures=1)
    assert replay.retry(pks[1:]) == {"retried": 1, "in_progress": 0}
    assert PendingDelivery.objects.get(state="dead").pk == pks[0]


def test_retryable_finds_the_events_that_retry_takes(database: str) -> None:
    pks = store_done(*(open_event(name) for name in "ABCDE"))
    add_pending(pks[0], state="dead", failures=1)
    add_pending(pks[1], failures=1)
    add_pending(pks[2], failures=1, lease=TOKEN)
    add_pending(pks[3])
    assert sorted(replay.retryable(pks).values_list("pk", flat=True)) == sorted(pks[:2])
    assert replay.retry(pks)["retried"] == 2


def test_retry_calls_only_the_failed_receiver(database: str, tracking: ReceiverSignal) -> None:
    shop, bank = Recorder(tracking, "shop"), Recorder(tracking, "bank")
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=2, receivers=FAILED)
    replay.retry([pk])
    tasks.retry_events()
    assert (shop.calls, bank.calls) == ([("A1", 3, False)], [])
    assert not PendingDelivery.objects.exists()


def test_retry_of_a_dead_letter_without_a_failed_receiver_calls_all_receivers(
    database: str, tracking: ReceiverSignal
) -> None:
    shop, bank = Recorder(tracking, "shop"), Recorder(tracking, "bank")
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", worker_deaths=leases.MOST_WORKER_DEATHS)
    replay.retry([pk])
    tasks.recover_events()
    assert shop.calls == bank.calls == [("A1", leases.MOST_WORKER_DEATHS + 1, False)]
    assert not PendingDelivery.objects.exists()


def test_each_retry_of_a_dead_letter_allows_one_more_attempt(
    database: str, tracking: ReceiverSignal, anymail: Any
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=3)
    shop = Recorder(tracking, "shop", fails=True)
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=3, receivers=FAILED)
    for failures in (4, 5):
        replay.retry([pk])
        tasks.retry_events()
        work = PendingDelivery.objects.get()
        assert (work.state, work.failures) == ("dead", failures)
        assert work.error == f"Given up: a receiver failed {failures} times."
    assert len(shop.calls) == 2


# discard


def test_discard_deletes_dead_letters_alone(database: str) -> None:
    pks = store_done(*(open_event(f"A{number}") for number in range(4)))
    add_pending(pks[0], state="dead", failures=15, receivers=FAILED)
    add_pending(pks[1], lease=TOKEN)
    add_pending(pks[2], failures=2, receivers=FAILED)
    assert list(replay.discardable(pks).values_list("pk", flat=True)) == [pks[0]]
    assert replay.discard(pks) == {"discarded": 1}
    assert set(PendingDelivery.objects.values_list("pk", flat=True)) == set(pks[1:3])
    assert Event.objects.count() == 4
    assert replay.discard(pks) == {"discarded": 0}


def test_a_discarded_event_can_be_replayed(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=15, receivers=FAILED)
    replay.discard([pk])
    assert replay.replay([pk], []) == {"replayed": 1, "pending": 0}


# replay


def test_replay_makes_done_events_pending(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    assert replay.replay([pk], []) == {"replayed": 1, "pending": 0}
    work = PendingDelivery.objects.get()
    assert (work.pk, work.state, work.lease, work.replay) == (pk, "pending", None, True)
    assert (work.failures, work.worker_deaths, work.receivers, work.error) == (0, 0, {}, "")
    assert (leases.anything_to_retry(), lane(work)) == (True, "to retry")
    assert counters.read_counters() == {"events_replayed": 1}


def test_replay_takes_dead_letters(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(
        pk,
        state="dead",
        failures=15,
        worker_deaths=5,
        due=later(database),
        receivers=FAILED,
        error="Given up.",
    )
    assert replay.replay([pk], ["bank"]) == {"replayed": 1, "pending": 0}
    work = PendingDelivery.objects.get()
    assert (work.state, work.failures, work.worker_deaths, work.replay) == ("pending", 0, 0, True)
    assert (work.receivers, work.error, lane(work)) == ({"bank": ""}, "", "to retry")
    assert work.due <= database_now(database)


@pytest.mark.parametrize("found", [{}, {"lease": TOKEN}, {"failures": 3}, {"lease": leases.ORPHANED}])
def test_replay_leaves_pending_events_alone(database: str, found: dict[str, Any]) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, **found)
    before = PendingDelivery.objects.values().get()
    assert replay.replay([pk], []) == {"replayed": 0, "pending": 1}
    assert PendingDelivery.objects.values().get() == before


def test_replay_skips_a_deleted_event(database: str) -> None:
    first, second = store_done(open_event("A1"), open_event("B2"))
    Event.objects.filter(pk=first).delete()
    assert replay.replay([first, second], []) == {"replayed": 1, "pending": 0}
    assert PendingDelivery.objects.get().pk == second


def test_replayable_finds_the_events_that_replay_takes(database: str) -> None:
    pks = store_done(*(open_event(name) for name in "ABC"))
    add_pending(pks[0], state="dead")
    add_pending(pks[1])
    assert set(replay.replayable(pks).values_list("pk", flat=True)) == {pks[0], pks[2]}
    assert replay.replay(pks, []) == {"replayed": 2, "pending": 1}


def test_replay_calls_all_receivers_with_the_replay_mark(database: str, tracking: ReceiverSignal) -> None:
    shop, bank = Recorder(tracking, "shop"), Recorder(tracking, "bank")
    pks = store_done(open_event("A1"), open_event("B2"))
    add_pending(pks[1], state="dead", failures=7, receivers=FAILED)
    replay.replay(pks, [])
    tasks.retry_events()
    assert sorted(shop.calls) == sorted(bank.calls) == [("A1", 1, True), ("B2", 1, True)]
    assert not PendingDelivery.objects.exists()


def test_replay_to_some_receivers_calls_no_others(database: str, tracking: ReceiverSignal) -> None:
    logs = {name: Recorder(tracking, name) for name in ("shop", "bank", "post")}
    replay.replay(store_done(open_event("A1")), ["shop", "post"])
    tasks.retry_events()
    assert [name for name, log in logs.items() if log.calls == [("A1", 1, True)]] == ["shop", "post"]
    assert logs["bank"].calls == []


def test_a_failed_replay_is_retried_with_the_replay_mark(database: str, tracking: ReceiverSignal) -> None:
    shop, bank = Recorder(tracking, "shop", fails=True), Recorder(tracking, "bank")
    (pk,) = store_done(open_event("A1"))
    replay.replay([pk], [])
    tasks.retry_events()
    shop.fails = False
    assert replay.retry([pk]) == {"retried": 1, "in_progress": 0}
    tasks.retry_events()
    assert (shop.calls, len(bank.calls)) == ([("A1", 1, True), ("A1", 2, True)], 1)
    assert not PendingDelivery.objects.exists()


def test_concurrent_replays_take_each_event_once(database: str) -> None:
    pks = store_done(*(open_event(f"{number:03d}") for number in range(100)))
    for pk in pks[:50]:
        add_pending(pk, state="dead")
    together = Barrier(4)

    def ask(_: int) -> int:
        together.wait()
        try:
            return replay.replay(pks, [])["replayed"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) == 100
    assert PendingDelivery.objects.filter(replay=True, state="pending").count() == 100


def test_connected_lists_the_receiver_names(tracking: ReceiverSignal) -> None:
    assert replay.connected_receivers() == []
    Recorder(tracking, "shop")
    Recorder(tracking, "bank")
    tracking.connect(Recorder(tracking, "third"), sender=object, dispatch_uid="of another sender", weak=False)
    assert replay.connected_receivers() == ["bank", "shop", "third"]


# Whatever is asked, in whatever order

found_work = st.none() | st.fixed_dictionaries(
    {
        "state": st.sampled_from(["pending", "dead"]),
        "failures": st.integers(0, 20),
        "worker_deaths": st.integers(0, leases.MOST_WORKER_DEATHS),
        "replay": st.booleans(),
        "receivers": st.sampled_from(
            [{}, {"shop": ""}, {"shop": "Traceback"}, {"shop": "", "gone": "Traceback"}]
        ),
        "lease": st.sampled_from([None, leases.ORPHANED, TOKEN]),
    }
)
requests = st.tuples(
    st.sampled_from(["retry", "replay", "replay to shop", "a worker"]), st.sets(st.integers(0, 3))
)


def ask(what: str, pks: list[int]) -> None:
    if what == "retry":
        before = replay.retryable(pks).count()
        assert replay.retry(pks)["retried"] == before
    elif what == "a worker":
        tasks.retry_events()
        tasks.recover_events()
    else:
        before = replay.replayable(pks).count()
        assert replay.replay(pks, ["shop"] if what.endswith("shop") else [])["replayed"] == before


@hypothesis_settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(found_work, min_size=4, max_size=4), st.lists(requests, max_size=6))
def test_any_operator_action_leaves_each_event_in_a_lane_of_the_workers(
    database: str, tracking: ReceiverSignal, works: list[Any], asked: list[Any]
) -> None:
    tracking.receivers = []
    PendingDelivery.objects.all().delete()
    Event.objects.all().delete()
    Recorder(tracking, "shop")
    pks = store_done(*(open_event(name) for name in "ABCD"))
    for pk, fields in zip(pks, works, strict=True):
        if fields is not None:
            lease = None if fields["state"] == "dead" else fields["lease"]
            add_pending(pk, **{**fields, "lease": lease, "due": later(database)})
    in_hand = list(PendingDelivery.objects.filter(lease=TOKEN).order_by("pk").values())
    for what, numbers in asked:
        ask(what, [pks[number] for number in sorted(numbers)])
        assert list(PendingDelivery.objects.filter(lease=TOKEN).order_by("pk").values()) == in_hand
        for work in PendingDelivery.objects.all():
            lane(work)
    # And from there it gets on: all is done but what that worker has, and what no receiver can take.
    replay.retry(pks)
    ours = PendingDelivery.objects.exclude(lease=TOKEN)
    ours.update(due=database_now(database))
    tasks.drain()
    tasks.retry_events()
    tasks.recover_events()
    assert all("gone" in work.receivers and work.failures for work in ours.all())
    assert list(PendingDelivery.objects.filter(lease=TOKEN).order_by("pk").values()) == in_hand
