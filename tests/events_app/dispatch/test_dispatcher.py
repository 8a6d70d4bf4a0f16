"""Stored events reach their receivers. Each delivery is made by one worker at a time."""

import re
from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import billiard.common
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.contrib.auth.models import Permission
from django.db import IntegrityError, OperationalError, close_old_connections, connections, transaction

from events_app import signals
from events_app.dispatch import dispatcher, leases, results, store
from events_app.dispatch.leases import ORPHANED, Lease
from events_app.models import Event, PendingDelivery
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable, database_now
from events_app.signals import ReceiverSignal, TrackingEvent
from events_app.views import SendGridTrackingWebhookView
from example_app.models import Bounce
from tests.support.databases import database_away, on_postgresql, terminate_connection
from tests.support.events.leases import (
    dead_letters,
    leased_ids,
    make_due,
    out_of_budget,
    out_of_lease,
    pending_ids,
    store_leased,
    take_expired,
)
from tests.support.events.stored_events import open_event, stream_entries
from tests.support.monitoring import counted, observed
from tests.support.recorded_calls import Call, Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def deliver(*event_ids: str) -> bool:
    lease = Lease()
    return dispatcher.deliver(store_leased(*event_ids, lease=lease), lease)


def retry(database: str) -> bool:
    """Deliver what is to be tried again, as if its time had come."""
    make_due(database)
    lease = Lease()
    return dispatcher.deliver(leases.take_retries(lease, 100), lease)


@pytest.fixture(params=[False, True], ids=["one by one", "in one transaction"])
def either_way(request: pytest.FixtureRequest, anymail: Callable[..., None]) -> None:
    """With ATOMIC_DISPATCH and without."""
    anymail(ATOMIC_DISPATCH=request.param)


either = pytest.mark.usefixtures("either_way")


# deliver


@either
def test_every_receiver_gets_every_event_once_and_nothing_stays_pending(
    database: str, tracking: ReceiverSignal
) -> None:
    one, other = Recorder(tracking, "one"), Recorder(tracking, "other")
    assert deliver("A1", "B2", "C3")
    assert one.ids == other.ids == ["A1", "B2", "C3"]
    assert not PendingDelivery.objects.exists()
    assert counters.read_counters() == {}


def test_a_receiver_is_called_with_the_arguments_of_anymail(database: str, tracking: ReceiverSignal) -> None:
    calls: list[dict[str, Any]] = []

    def receiver(sender: type, **kwargs: Any) -> None:
        calls.append({"sender": sender, **kwargs})

    tracking.connect(receiver)
    lease = Lease()
    deliveries = store_leased("A1", lease=lease)
    dispatcher.deliver(deliveries, lease)
    assert calls == [
        {
            "sender": SendGridTrackingWebhookView,
            "signal": tracking,
            "event": deliveries[0].event,
            "esp_name": "SendGrid",
            "attempt": 1,
            "replay": False,
        }
    ]


def test_changes_of_a_receiver_to_its_event_are_invisible_to_the_next_receiver(
    database: str, tracking: ReceiverSignal
) -> None:
    seen: list[tuple[Any, Any, Any]] = []

    def spoils(event: TrackingEvent, **_: Any) -> None:
        seen.append((event.metadata.copy(), event.tags.copy(), event.esp_event.copy()))
        event.metadata.clear()
        event.tags.append("spoilt")
        event.esp_event.clear()

    tracking.connect(spoils, dispatch_uid="first")
    tracking.connect(spoils, sender=SendGridTrackingWebhookView, dispatch_uid="second")
    tracking.connect(spoils, weak=False, dispatch_uid="third")
    lease = Lease()
    raw = open_event("A1", category=["spring"], order="77")
    dispatcher.deliver(store.store(stream_entries(raw), lease).deliveries, lease)
    assert seen == [({"order": "77"}, ["spring"], raw)] * 3


def test_an_async_receiver_is_called(database: str, tracking: ReceiverSignal) -> None:
    came: list[str | None] = []

    async def receiver(event: TrackingEvent, **_: Any) -> None:
        came.append(event.event_id)

    tracking.connect(receiver)
    deliver("A1", "B2")
    assert came == ["A1", "B2"]
    assert not PendingDelivery.objects.exists()


def test_a_receiver_of_another_sender_is_not_called(database: str, tracking: ReceiverSignal) -> None:
    def receiver(**_: Any) -> None:
        raise AssertionError

    tracking.connect(receiver, sender=Recorder)
    deliver("A1")
    assert counters.read_counters() == {"events_without_receiver": 1}


def test_events_without_a_receiver_are_done_and_counted(database: str) -> None:
    assert deliver("A1", "B2")
    assert not PendingDelivery.objects.exists()
    assert counters.read_counters() == {"events_without_receiver": 2}


def test_an_event_of_a_removed_webhook_view_is_delivered_without_a_sender(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.delitem(signals.webhook_views, "tracking")
    deliver("A1")
    assert log.ids == ["A1"]


def test_delivering_no_events_succeeds() -> None:
    assert dispatcher.deliver([], Lease())


# A receiver that fails


@either
def test_a_receiver_that_raises_stops_no_other_receiver(database: str, tracking: ReceiverSignal) -> None:
    first, failing, last = (
        Recorder(tracking, "first"),
        Recorder(tracking, "failing", "B2"),
        Recorder(tracking, "last"),
    )
    assert deliver("A1", "B2", "C3")
    assert first.ids == failing.ids == last.ids == ["A1", "B2", "C3"]


@either
def test_only_the_failed_receiver_is_retried(database: str, tracking: ReceiverSignal) -> None:
    first, shop, last = (
        Recorder(tracking, "first"),
        Recorder(tracking, "shop", "B2"),
        Recorder(tracking, "last"),
    )
    deliver("A1", "B2")
    for _ in range(2):
        retry(database)
    assert pending_ids() == ["B2"]
    shop.fails_at = None
    retry(database)
    assert not PendingDelivery.objects.exists()
    assert shop.calls == [Call("A1"), *(Call("B2", attempt) for attempt in (1, 2, 3, 4))]
    assert first.calls == last.calls == [Call("A1"), Call("B2")]
    assert counters.read_counters() == {"receiver_calls shop failed": 3, "events_retried": 3}


@either
def test_a_failed_event_records_its_receivers_and_tracebacks(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    Recorder(tracking, "fine")
    Recorder(tracking, "shop", "B2")
    Recorder(tracking, "bank", "B2")
    deliver("A1", "B2", "C3")
    work = PendingDelivery.objects.get()
    assert (work.event.event_id, work.state, work.lease, work.failures) == ("B2", "pending", None, 1)
    assert work.due > database_now(database)
    assert (sorted(work.receivers), work.error) == (["bank", "shop"], "")
    for traceback in work.receivers.values():
        assert traceback.startswith("Traceback")
        assert traceback.endswith("RuntimeError: the shop is closed\n")
    assert counters.read_counters() == {"receiver_calls shop failed": 1, "receiver_calls bank failed": 1}
    (record,) = (record for record in caplog.records if "Receiver shop" in record.getMessage())
    assert re.fullmatch(
        rf"Receiver shop failed on event {work.pk}, attempt 1 of 15: "
        rf"RuntimeError at \S+tests/support/recorded_calls\.py:\d+",
        record.getMessage(),
    )
    assert not record.exc_info
    fields = {name: getattr(record, name) for name in ("receiver", "event", "event_id", "attempt", "error")}
    assert fields == {
        "receiver": "shop",
        "event": work.pk,
        "event_id": "B2",
        "attempt": 1,
        "error": "RuntimeError",
    }
    assert "the shop is closed" not in caplog.text


@either
def test_two_failed_receivers_are_retried_independently(database: str, tracking: ReceiverSignal) -> None:
    shop, bank = Recorder(tracking, "shop", "A1"), Recorder(tracking, "bank", "A1")
    deliver("A1")
    bank.fails_at = None
    retry(database)
    assert list(PendingDelivery.objects.get().receivers) == ["shop"]
    retry(database)
    assert (len(shop.calls), len(bank.calls), PendingDelivery.objects.get().failures) == (3, 2, 3)
    shop.fails_at = None
    retry(database)
    assert (len(shop.calls), len(bank.calls), PendingDelivery.objects.count()) == (4, 2, 0)


@either
def test_after_the_last_attempt_only_the_failed_event_becomes_a_dead_letter(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None]
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=2)
    log, shop = Recorder(tracking), Recorder(tracking, "shop", "A1")
    deliver("A1", "B2")
    retry(database)
    (work,) = dead_letters()
    assert (work.lease, work.failures, list(work.receivers)) == (None, 2, ["shop"])
    assert work.error == "Given up: a receiver failed 2 times."
    assert "the shop is closed" in work.receivers["shop"]
    retry(database)
    assert (shop.calls, log.calls) == ([Call("A1"), Call("B2"), Call("A1", 2)], [Call("A1"), Call("B2")])
    assert counters.read_counters() == {
        "receiver_calls shop failed": 2,
        "events_retried": 1,
        "dead_letters receiver_failed": 1,
    }


def test_with_a_maximum_of_one_attempt_the_first_failure_makes_a_dead_letter(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None]
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=1)
    Recorder(tracking, "shop", "A1")
    deliver("A1")
    assert dead_letters()[0].error == "Given up: a receiver failed 1 times."


def test_an_unstorable_traceback_is_cleaned_and_cut(database: str, tracking: ReceiverSignal) -> None:
    def talks(**_: Any) -> None:
        raise RuntimeError("\0\ud800" + "x" * 30_000 + " the end")

    tracking.connect(talks, dispatch_uid="talks")
    deliver("A1")
    traceback = PendingDelivery.objects.get().receivers["talks"]
    assert len(traceback) == 20_000
    assert traceback.endswith("the end\n")


@either
def test_an_async_receiver_that_raises_fails_its_event(database: str, tracking: ReceiverSignal) -> None:
    async def closed(**_: Any) -> None:
        raise RuntimeError("the shop is closed")

    tracking.connect(closed, dispatch_uid="closed")
    deliver("A1")
    assert list(PendingDelivery.objects.get().receivers) == ["closed"]


class Death(BaseException):
    """What only a process's end should raise."""


@either
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SystemExit, "failed"),
        (KeyboardInterrupt, "failed"),
        (CancelledError, "failed"),
        (Death, "failed"),
        (OperationalError, "failed"),
        (DatabaseUnavailable, "failed"),
        (SoftTimeLimitExceeded, "timed_out"),
    ],
)
def test_any_exception_of_a_receiver_counts_as_its_failure(
    database: str, tracking: ReceiverSignal, error: type[BaseException], outcome: str
) -> None:
    def leaves(**_: Any) -> None:
        raise error

    tracking.connect(leaves, dispatch_uid="leaves")
    log = Recorder(tracking)
    assert deliver("A1", "B2")
    assert log.ids == ["A1", "B2"]
    assert [(work.failures, list(work.receivers)) for work in PendingDelivery.objects.all()] == [
        (1, ["leaves"])
    ] * 2
    assert counters.read_counters() == {f"receiver_calls leaves {outcome}": 2}


@either
def test_a_terminated_process_orphans_its_event_without_counting_a_failure(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As billiard's handler of SIGTERM does, wherever the process is.
    def told_to_end(event: TrackingEvent, **_: Any) -> None:
        if event.event_id == "B2":
            monkeypatch.setattr(billiard.common, "_should_have_exited", [True])
            raise SystemExit

    Recorder(tracking, "first")
    tracking.connect(told_to_end, dispatch_uid="second")
    with pytest.raises(SystemExit):
        deliver("A1", "B2", "C3")
    found = {work.event.event_id: (work.lease, work.failures) for work in PendingDelivery.objects.all()}
    assert found == {"B2": (leases.ORPHANED, 0), "C3": (None, 0)}
    assert counters.read_counters() == {"events_released": 1}


@either
def test_a_disconnected_receiver_counts_as_failed_until_reconnected(
    database: str, tracking: ReceiverSignal
) -> None:
    shop, bank = Recorder(tracking, "shop", "A1"), Recorder(tracking, "bank", "A1")
    deliver("A1")
    tracking.disconnect(dispatch_uid="shop")
    bank.fails_at = None
    retry(database)
    work = PendingDelivery.objects.get()
    assert (work.state, work.failures, list(work.receivers)) == ("pending", 2, ["shop"])
    assert work.due > database_now(database)
    assert work.receivers["shop"].startswith("No receiver of this name is connected in this worker.")
    assert (len(shop.calls), len(bank.calls)) == (1, 2)
    assert counters.read_counters() == {
        "receiver_calls shop failed": 1,
        "receiver_calls bank failed": 1,
        "receiver_calls unknown unknown": 1,
        "events_retried": 1,
    }
    tracking.connect(shop, dispatch_uid="shop")
    shop.fails_at = None
    retry(database)
    assert (shop.calls[-1], PendingDelivery.objects.count()) == (Call("A1", 3), 0)


def test_a_newly_connected_receiver_gets_fresh_events_and_no_retries(
    database: str, tracking: ReceiverSignal
) -> None:
    shop = Recorder(tracking, "shop", "A1")
    deliver("A1")
    shop.fails_at = None
    new = Recorder(tracking, "new")
    retry(database)
    assert (len(shop.calls), new.calls) == (2, [])
    deliver("B2")
    assert new.ids == ["B2"]


@either
def test_a_replay_is_marked_for_receivers_and_not_counted_as_a_retry(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking, "log", "A1")
    store_leased("A1", lease=Lease())
    make_due(database, lease=None, replay=True)
    retry(database)
    retry(database)
    assert log.calls == [Call("A1", 1, replay=True), Call("A1", 2, replay=True)]
    assert counters.read_counters() == {"receiver_calls log failed": 2, "events_retried": 1}


def test_a_replay_to_some_receivers_calls_no_others(database: str, tracking: ReceiverSignal) -> None:
    shop, bank = Recorder(tracking, "shop"), Recorder(tracking, "bank")
    store_leased("A1", lease=Lease())
    make_due(database, lease=None, replay=True, receivers={"bank": ""})
    retry(database)
    assert (shop.calls, bank.calls, PendingDelivery.objects.count()) == ([], [Call("A1", 1, replay=True)], 0)


@either
def test_an_event_that_became_unreadable_becomes_a_dead_letter_with_a_reason(
    database: str, tracking: ReceiverSignal
) -> None:
    log, shop = Recorder(tracking), Recorder(tracking, "shop", "A1")
    deliver("A1")
    Event.objects.update(raw=b"nonsense")
    store_leased("B2", lease=Lease())
    PendingDelivery.objects.filter(event__event_id="B2").update(lease=None, failures=1)
    assert retry(database)
    (work,) = dead_letters()
    assert (work.event.event_id, work.lease, work.failures) == ("A1", None, 1)
    assert "is not JSON" in work.error
    assert (log.ids, shop.ids, pending_ids()) == (["A1", "B2"], ["A1", "B2"], [])


# Budget and lease


@either
def test_out_of_budget_a_worker_delivers_one_event_and_releases_the_rest(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking)
    lease = Lease()
    deliveries = store_leased("A1", "B2", "C3", lease=lease)
    assert not dispatcher.deliver(deliveries, out_of_budget(lease))
    assert (log.ids, pending_ids()) == (["A1"], ["B2", "C3"])
    assert set(PendingDelivery.objects.values_list("lease", "failures", "worker_deaths")) == {(None, 0, 0)}
    assert leases.anything_released()
    assert not leases.anything_expired()


def test_released_events_are_delivered_by_the_next_worker(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    first, second = Lease(), Lease()
    dispatcher.deliver(store_leased("A1", "B2", "C3", lease=first), out_of_budget(first))
    assert dispatcher.deliver(leases.take_released(second, 10), second)
    assert sorted(log.calls) == [Call("A1"), Call("B2"), Call("C3")]
    assert not PendingDelivery.objects.exists()


@either
def test_out_of_budget_a_worker_calls_one_receiver_and_releases_the_others(
    database: str, tracking: ReceiverSignal
) -> None:
    first, second, third = (Recorder(tracking, name) for name in ("first", "second", "third"))
    lease = Lease()
    dispatcher.deliver(store_leased("A1", lease=lease), out_of_budget(lease))
    assert (first.ids, second.ids, third.ids) == (["A1"], [], [])
    work = PendingDelivery.objects.get()
    assert (work.lease, work.failures, work.receivers) == (None, 0, {"second": "", "third": ""})
    assert work.due <= database_now(database)
    assert observed("delivery_seconds") == {}
    lease = Lease()
    assert dispatcher.deliver(leases.take_released(lease, 10), lease)
    assert observed("delivery_seconds") == {("events",): 1}
    assert first.calls == second.calls == third.calls == [Call("A1")]
    assert not PendingDelivery.objects.exists()
    assert not [name for name in counters.read_counters() if name.startswith("receiver_calls")]


@either
def test_an_event_released_between_two_receivers_ends_the_delivery(
    database: str, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "first")
    Recorder(tracking, "second")
    lease = Lease()
    assert not dispatcher.deliver(store_leased("A1", lease=lease), out_of_budget(lease))
    assert pending_ids() == ["A1"]


@either
def test_a_failure_before_the_end_of_the_budget_keeps_uncalled_receivers_pending(
    database: str, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "first", "A1")
    second = Recorder(tracking, "second")
    lease = Lease()
    dispatcher.deliver(store_leased("A1", lease=lease), out_of_budget(lease))
    work = PendingDelivery.objects.get()
    assert (work.failures, sorted(work.receivers), work.receivers["second"]) == (1, ["first", "second"], "")
    retry(database)
    assert second.calls == [Call("A1", 2)]


@either
def test_a_worker_with_an_expired_lease_calls_no_receiver_and_changes_no_row(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking)
    lease = Lease()
    deliveries = store_leased("A1", "B2", lease=lease)
    assert not dispatcher.deliver(deliveries, out_of_lease(lease))
    assert log.ids == []
    assert set(PendingDelivery.objects.values_list("lease", "failures")) == {(lease.token, 0)}


# recover


def recover(lease: Lease) -> bool:
    """Recovery while no fresh event waits."""
    return dispatcher.recover(lease, yields=lambda: False)


@either
def test_an_expired_event_is_recovered(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    store_leased("A1", "B2", lease=Lease())
    assert recover(Lease())
    assert log.ids == []
    make_due(database)
    assert recover(Lease())
    assert sorted(log.calls) == [Call("A1", 2), Call("B2", 2)]
    assert not PendingDelivery.objects.exists()
    assert counters.read_counters() == {"events_recovered": 2}


def test_recovery_takes_one_event_at_a_time_and_counts_the_worker_death_before_the_call(
    database: str, tracking: ReceiverSignal
) -> None:
    lease = Lease()
    seen: list[list[tuple[int, bool]]] = []

    def receiver(**_: Any) -> None:
        rows = PendingDelivery.objects.order_by("-worker_deaths").values_list("worker_deaths", "lease")
        seen.append([(worker_deaths, token == lease.token) for worker_deaths, token in rows])

    tracking.connect(receiver)
    store_leased("A1", "B2", "C3", lease=Lease())
    make_due(database)
    recover(lease)
    assert seen == [
        [(1, True), (0, False), (0, False)],
        [(1, True), (0, False)],
        [(1, True)],
    ]


@either
def test_a_recovered_event_whose_receiver_raises_is_retried(database: str, tracking: ReceiverSignal) -> None:
    fine, shop = Recorder(tracking, "fine"), Recorder(tracking, "shop", "A1")
    store_leased("A1", lease=Lease())
    make_due(database)
    assert recover(Lease())
    work = PendingDelivery.objects.get()
    assert (work.failures, work.worker_deaths, list(work.receivers)) == (1, 1, ["shop"])
    shop.fails_at = None
    retry(database)
    assert (fine.calls, shop.calls) == ([Call("A1", 2)], [Call("A1", 2), Call("A1", 3)])


def test_a_recovered_event_is_delivered_only_to_its_pending_receivers(
    database: str, tracking: ReceiverSignal
) -> None:
    fine, shop = Recorder(tracking, "fine"), Recorder(tracking, "shop")
    store_leased("A1", lease=Lease())
    make_due(database, receivers={"shop": "Traceback"}, failures=1)
    assert recover(Lease())
    assert (fine.calls, shop.calls) == ([], [Call("A1", 3)])


def test_out_of_budget_a_worker_recovers_nothing(database: str) -> None:
    store_leased("A1", lease=Lease())
    make_due(database)
    assert not recover(out_of_budget(Lease()))
    assert PendingDelivery.objects.get().worker_deaths == 0


def test_recovery_yields_after_one_event_and_continues_at_the_next_call(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RECOVERY_SLICE", 0.0)
    log = Recorder(tracking)
    store_leased("A1", "B2", lease=Lease())
    make_due(database)
    assert dispatcher.recover(Lease(), yields=lambda: True)
    assert len(log.ids) == 1
    assert dispatcher.recover(Lease(), yields=lambda: True)
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]


def test_recovery_yields_only_after_its_time_slice(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RECOVERY_SLICE", 3600.0)
    log = Recorder(tracking)
    store_leased("A1", "B2", lease=Lease())
    make_due(database)
    assert dispatcher.recover(Lease(), yields=lambda: True)
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]


@either
def test_a_worker_that_lost_its_lease_deletes_and_reschedules_nothing(
    database: str, tracking: ReceiverSignal
) -> None:
    slow, fast = Lease(), Lease()
    deliveries = store_leased("A1", "B2", lease=slow)
    Recorder(tracking, "log", "B2", does=lambda: PendingDelivery.objects.update(lease=fast.token))
    dispatcher.deliver(deliveries, slow)
    assert set(PendingDelivery.objects.values_list("lease", "state", "failures")) == {
        (fast.token, "pending", 0)
    }


@either
def test_a_worker_that_lost_its_lease_releases_nothing(database: str, tracking: ReceiverSignal) -> None:
    Recorder(tracking)
    slow, fast = Lease(), Lease()
    deliveries = store_leased("A1", "B2", lease=slow)
    PendingDelivery.objects.update(lease=fast.token)
    dispatcher.deliver(deliveries, out_of_budget(slow))
    assert list(PendingDelivery.objects.values_list("lease", flat=True)) == [fast.token] * 2


@either
def test_concurrent_recoveries_call_no_receiver_twice(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    event_ids = [f"{number:02d}" for number in range(20)]
    store_leased(*event_ids, lease=Lease())
    make_due(database)
    together = Barrier(3)

    def work(_: int) -> bool:
        together.wait()
        try:
            return recover(Lease())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))
    assert sorted(filter(None, log.ids)) == event_ids


# Transactions of a receiver's own


def test_a_receiver_with_a_sql_error_breaks_no_other_receiver(
    database: str, tracking: ReceiverSignal
) -> None:
    def breaks() -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT nonsense")

    Recorder(tracking, "breaks", does=breaks)
    log = Recorder(tracking)
    deliver("A1", "B2")
    assert log.ids == ["A1", "B2"]
    assert [list(work.receivers) for work in PendingDelivery.objects.all()] == [["breaks"], ["breaks"]]


def enter_atomic(database: str) -> None:
    transaction.atomic(using=database).__enter__()


def turn_autocommit_off(database: str) -> None:
    transaction.set_autocommit(False, using=database)


def note(database: str, recipient: str) -> None:
    Bounce.objects.using(database).create(recipient=recipient)


def noted(database: str) -> list[str]:
    return sorted(Bounce.objects.using(database).values_list("recipient", flat=True))


@pytest.mark.parametrize("leave_open", [enter_atomic, turn_autocommit_off])
def test_a_receiver_that_leaves_a_transaction_open_loses_no_other_receivers_result(
    database: str, tracking: ReceiverSignal, leave_open: Callable[[str], None]
) -> None:
    def leaves_open() -> None:
        leave_open(database)
        note(database, "open")

    Recorder(tracking, "first", does=lambda: note(database, "first"))
    Recorder(tracking, "leaves open", does=leaves_open)
    Recorder(tracking, "last", does=lambda: note(database, "last"))
    deliver("A1", "B2")
    connections[database].close()
    assert noted(database) == ["first", "first", "last", "last"]
    for work in PendingDelivery.objects.all():
        assert (work.failures, list(work.receivers)) == (1, ["leaves open"])
        assert "returned in the middle of a transaction" in work.receivers["leaves open"]


# A transaction an event


@pytest.fixture
def atomic(anymail: Callable[..., None]) -> None:
    anymail(ATOMIC_DISPATCH=True)


@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_commits_receiver_writes_and_the_done_mark_together(
    database: str, tracking: ReceiverSignal
) -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def look() -> None:
        """As another connection sees it: the last event whole, this one not at all."""
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(asked_by_another).result())

    def asked_by_another() -> tuple[list[str], list[str]]:
        try:
            return noted(database), pending_ids()
        finally:
            connections.close_all()

    Recorder(tracking, "notes", does=lambda: note(database, "one"))
    Recorder(tracking, "looks", does=look)
    assert deliver("A1", "B2")
    assert seen == [([], ["A1", "B2"]), (["one"], ["B2"])]
    assert (noted(database), pending_ids()) == (["one", "one"], [])


@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_rolls_back_only_the_writes_of_the_failed_receiver(
    database: str, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "first", does=lambda: note(database, "first"))
    shop = Recorder(tracking, "shop", "A1", does=lambda: note(database, "shop"))
    Recorder(tracking, "last", does=lambda: note(database, "last"))
    deliver("A1")
    assert (noted(database), list(PendingDelivery.objects.get().receivers)) == (["first", "last"], ["shop"])
    shop.fails_at = None
    retry(database)
    assert (noted(database), pending_ids()) == (["first", "last", "shop"], [])


@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_rolls_back_the_writes_of_a_failed_async_receiver(
    database: str, tracking: ReceiverSignal
) -> None:
    async def writes(event: TrackingEvent, **_: Any) -> None:
        await Bounce.objects.using(database).acreate(recipient=event.event_id or "")
        if event.event_id == "A1":
            raise RuntimeError

    tracking.connect(writes, dispatch_uid="writes")
    deliver("A1", "B2")
    assert (noted(database), pending_ids()) == (["B2"], ["A1"])


def swallow(database: str) -> None:
    """Go on after a database error."""
    with suppress(IntegrityError):
        Bounce.objects.using(database).create(recipient=None)  # type: ignore[misc]


@pytest.mark.usefixtures("atomic")
@pytest.mark.parametrize(
    ("misbehave", "why"),
    [(swallow, "went on after a database error"), (enter_atomic, "returned in the middle of a transaction")],
    ids=["swallows a database error", "leaves a block open"],
)
def test_atomic_dispatch_fails_only_a_receiver_that_misuses_the_transaction(
    database: str, tracking: ReceiverSignal, misbehave: Callable[[str], object], why: str
) -> None:
    Recorder(tracking, "first", does=lambda: note(database, "first"))
    Recorder(tracking, "misbehaves", does=lambda: misbehave(database))
    Recorder(tracking, "last", does=lambda: note(database, "last"))
    deliver("A1")
    work = PendingDelivery.objects.get()
    assert (work.failures, list(work.receivers)) == (1, ["misbehaves"])
    assert why in work.receivers["misbehaves"]
    assert noted(database) == ["first", "last"]


def close(database: str) -> None:
    connections[database].close()


def commit(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("COMMIT")


@pytest.mark.usefixtures("atomic")
@pytest.mark.parametrize("tear", [close, commit])
def test_a_receiver_that_ends_the_outer_transaction_makes_all_receivers_retried(
    database: str, tracking: ReceiverSignal, tear: Callable[[str], None]
) -> None:
    first = Recorder(tracking, "first", does=lambda: note(database, "first"))
    tears = Recorder(tracking, "tears", does=lambda: tear(database))
    last = Recorder(tracking, "last", does=lambda: note(database, "last"))
    assert deliver("A1")
    work = PendingDelivery.objects.get()
    assert (work.state, work.lease, work.failures) == ("pending", None, 1)
    assert (sorted(work.receivers), work.receivers["first"]) == (["first", "last", "tears"], "")
    assert "TransactionLost" in work.receivers["tears"]
    # COMMIT cannot be taken back.
    assert noted(database) == (["first"] if tear is commit else [])
    assert counters.read_counters() == {"receiver_calls tears failed": 1}
    tears.does = None
    retry(database)
    assert (first.ids, tears.ids, last.ids) == (["A1"] * 2, ["A1"] * 2, ["A1"])
    assert (noted(database)[-2:], pending_ids()) == (["first", "last"], [])


@pytest.mark.usefixtures("atomic")
def test_events_after_a_lost_transaction_are_delivered(database: str, tracking: ReceiverSignal) -> None:
    def tears(event: TrackingEvent, **_: Any) -> None:
        if event.event_id == "A1":
            close(database)

    tracking.connect(tears, dispatch_uid="tears")
    log = Recorder(tracking, does=lambda: note(database, "log"))
    assert deliver("A1", "B2", "C3")
    assert (log.ids, noted(database), pending_ids()) == (["B2", "C3"], ["log", "log"], ["A1"])


@pytest.mark.usefixtures("atomic")
def test_an_error_at_commit_keeps_the_event_pending_for_all_receivers_with_a_reason(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    def writes() -> None:
        note(database, "one")
        # The constraint on it is looked at when the transaction commits.
        Permission.objects.using(database).create(content_type_id=2**30)

    orphan = Recorder(tracking, "orphan", does=writes)
    other = Recorder(tracking, "other")
    assert deliver("A1")
    work = PendingDelivery.objects.get()
    assert (work.lease, work.failures, sorted(work.receivers)) == (None, 1, ["orphan", "other"])
    assert all("IntegrityError" in traceback for traceback in work.receivers.values())
    assert noted(database) == []
    assert f"The transaction around event {work.pk} failed: IntegrityError at " in caplog.text
    orphan.does = None
    retry(database)
    assert (orphan.calls, other.calls) == ([Call("A1"), Call("A1", 2)], [Call("A1"), Call("A1", 2)])
    assert pending_ids() == []


@pytest.mark.usefixtures("atomic")
def test_an_on_commit_callback_that_raises_undoes_nothing(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("the shop is closed")

    def writes() -> None:
        note(database, "one")
        transaction.on_commit(fail, using=database)

    log = Recorder(tracking, does=writes)
    assert deliver("A1", "B2")
    assert (log.ids, noted(database), pending_ids()) == (["A1", "B2"], ["one", "one"], [])
    assert "RuntimeError" in caplog.text


@pytest.mark.usefixtures("atomic")
def test_an_on_commit_callback_of_a_failed_receiver_is_not_called(
    database: str, tracking: ReceiverSignal
) -> None:
    came: list[str] = []
    Recorder(
        tracking, "fine", does=lambda: transaction.on_commit(lambda: came.append("fine"), using=database)
    )
    Recorder(
        tracking, "shop", "A1", lambda: transaction.on_commit(lambda: came.append("shop"), using=database)
    )
    deliver("A1")
    assert came == ["fine"]


@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_skips_an_event_leased_by_another_worker(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking)
    slow, fast = Lease(), Lease()
    deliveries = store_leased("A1", "B2", lease=slow)
    PendingDelivery.objects.filter(pk=deliveries[0].pk).update(lease=fast.token)
    assert dispatcher.deliver(deliveries, slow)
    assert (log.ids, pending_ids()) == (["B2"], ["A1"])
    assert PendingDelivery.objects.get().lease == fast.token


@on_postgresql
@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_sets_the_idle_transaction_timeout_of_postgresql_to_the_lease(
    database: str, tracking: ReceiverSignal
) -> None:
    found: list[float] = []

    def look() -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT current_setting('idle_in_transaction_session_timeout')::interval")
            found.append(cursor.fetchone()[0].total_seconds())

    Recorder(tracking, does=look)
    deliver("A1")
    look()
    assert found[0] == leases.lease_duration().total_seconds() != found[1]


# The database away, in the middle


def test_unwritten_done_marks_are_written_by_a_later_task(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    lease = Lease()
    deliveries = store_leased("A1", "B2", lease=lease)
    with database_away(database):
        assert dispatcher.deliver(deliveries, lease)
    assert (log.ids, pending_ids()) == (["A1", "B2"], ["A1", "B2"])
    results.unwritten.flush()
    assert pending_ids() == []


def test_a_failure_that_cannot_be_written_orphans_its_event(database: str, tracking: ReceiverSignal) -> None:
    fine, shop = Recorder(tracking, "fine"), Recorder(tracking, "shop", "B2")
    lease = Lease()
    deliveries = store_leased("A1", "B2", "C3", lease=lease)
    with database_away(database), pytest.raises(DatabaseUnavailable):
        dispatcher.deliver(deliveries, lease)
    assert pending_ids() == ["A1", "B2", "C3"]
    results.unwritten.flush()
    assert leased_ids(leases.take_released(Lease(), 10)) == ["C3"]
    (begun,) = take_expired(Lease(), 1)
    assert (leased_ids([begun]), list(begun.receivers), begun.failures, begun.worker_deaths) == (
        ["B2"],
        ["shop"],
        0,
        0,
    )
    assert (fine.ids, shop.ids, PendingDelivery.objects.count()) == (["A1", "B2"], ["A1", "B2"], 2)


def test_an_unreadable_event_of_another_worker_is_no_dead_letter_here(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    PendingDelivery.objects.update(lease=7)
    row = Event(raw=b"nonsense", webhook="tracking", received_at=item.row.received_at)
    dispatcher.deliver([item._replace(row=row, event=None)], lease)
    assert (dead_letters(), counted("dead_letters_total")) == ([], {})


def test_a_dead_letter_that_cannot_be_written_is_orphaned(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    unreadable = item._replace(row=Event(raw=b"nonsense", webhook="tracking"), event=None)
    with database_away(database), pytest.raises(DatabaseUnavailable):
        dispatcher.deliver([unreadable], lease)
    results.unwritten.flush()
    assert PendingDelivery.objects.get().lease == ORPHANED


def loses_the_database(tracking: ReceiverSignal, database: str) -> tuple[Recorder, Recorder, Recorder]:
    """Three receivers; PostgreSQL hangs up under the second one."""

    def lose() -> None:
        terminate_connection(database)
        note(database, "never")

    return (
        Recorder(tracking, "first", does=lambda: note(database, "first")),
        Recorder(tracking, "second", does=lose),
        Recorder(tracking, "third"),
    )


def next_task() -> None:
    """What each task does first."""
    close_old_connections()
    results.unwritten.flush()


@on_postgresql
def test_an_event_hit_by_a_database_outage_is_recovered_for_its_pending_receivers(
    database: str, tracking: ReceiverSignal
) -> None:
    first, second, third = loses_the_database(tracking, database)
    lease = Lease()
    with pytest.raises(DatabaseUnavailable) as raised:
        dispatcher.deliver(store_leased("A1", "B2", lease=lease), lease)
    assert (first.ids, second.ids, third.ids) == (["A1"], ["A1"], [])
    next_task()
    assert counters.read_counters() == {"events_released": 1}
    work = PendingDelivery.objects.get(event__event_id="A1")
    assert (work.lease, work.failures, work.worker_deaths) == (ORPHANED, 0, 0)
    assert work.receivers == {"second": "", "third": ""}
    second.does = None
    assert recover(Lease())
    assert (first.calls, second.calls, third.calls) == ([Call("A1")], [Call("A1")] * 2, [Call("A1")])
    assert pending_ids() == ["B2"]
    assert leased_ids(leases.take_released(Lease(), 10)) == ["B2"]
    assert str(raised.value) == "OperationalError"


@on_postgresql
@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_recovers_an_event_hit_by_an_outage_for_all_receivers(
    database: str, tracking: ReceiverSignal
) -> None:
    first, second, third = loses_the_database(tracking, database)
    lease = Lease()
    with pytest.raises(DatabaseUnavailable):
        dispatcher.deliver(store_leased("A1", "B2", lease=lease), lease)
    next_task()
    assert counters.read_counters() == {"events_released": 1}
    work = PendingDelivery.objects.get(event__event_id="A1")
    assert (work.lease, work.failures, work.worker_deaths, work.receivers) == (ORPHANED, 0, 0, {})
    second.does = None
    assert recover(Lease())
    assert first.calls == second.calls == [Call("A1")] * 2
    assert (third.calls, noted(database), pending_ids()) == ([Call("A1")], ["first"], ["B2"])


@on_postgresql
@either
def test_a_recovered_event_hit_by_another_outage_counts_a_worker_death_when_its_lease_expires(
    database: str, tracking: ReceiverSignal
) -> None:
    loses_the_database(tracking, database)
    store_leased("A1", lease=Lease())
    make_due(database, lease=ORPHANED)
    for worker_deaths in (0, 1, 2):
        lease = Lease()
        with pytest.raises(DatabaseUnavailable):
            recover(lease)
        next_task()
        work = PendingDelivery.objects.get()
        assert (work.lease, work.worker_deaths, work.failures) == (lease.token, worker_deaths, 0)
        assert not leases.anything_expired()
        make_due(database)


@on_postgresql
def test_a_done_mark_hit_by_an_outage_is_written_later(database: str, tracking: ReceiverSignal) -> None:
    last = Recorder(tracking, "last", does=lambda: terminate_connection(database))
    assert deliver("A1")
    next_task()
    assert (last.ids, pending_ids()) == (["A1"], [])


@on_postgresql
@pytest.mark.usefixtures("atomic")
def test_atomic_dispatch_recovers_an_event_whose_done_mark_hit_an_outage(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking, "log", does=lambda: terminate_connection(database))
    with pytest.raises(DatabaseUnavailable):
        deliver("A1")
    next_task()
    assert PendingDelivery.objects.get().lease == ORPHANED
    log.does = None
    assert recover(Lease())
    assert (log.ids, pending_ids()) == (["A1", "A1"], [])
