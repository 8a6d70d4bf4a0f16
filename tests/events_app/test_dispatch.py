"""Stored events reach receivers: each receiver, each event, by one worker at a time."""

from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, connections
from pytest_django import Settings

from events_app import claims, counters, dispatch, inbox, signals
from events_app.claims import Claim, Owed
from events_app.models import Work, database_now
from events_app.signals import ReceiverSignal, TrackingEvent
from events_app.views import SendGridTrackingWebhookView
from tests.events_app.test_inbox import away, entries, opened

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

HERE = __name__


class Log:
    """A receiver that writes down whose events it got, and raises at some."""

    def __init__(self, signal: ReceiverSignal, name: str = "log", fails_at: str | None = None) -> None:
        self.ids: list[str | None] = []
        self.fails_at = fails_at
        signal.connect(self, dispatch_uid=name, weak=False)

    def __call__(self, event: TrackingEvent, **_: Any) -> None:
        self.ids.append(event.event_id)
        if event.event_id == self.fails_at:
            raise RuntimeError("the shop is closed")


def store(*ids: str, claim: Claim) -> list[Owed]:
    return inbox.store(entries(*map(opened, ids)), claim).owed


def out_of_budget(claim: Claim) -> Claim:
    return replace(claim, started=claim.started - claims.BUDGET)


def out_of_lease(claim: Claim) -> Claim:
    return replace(claim, started=claim.started - claims.lease().total_seconds())


def lapse(database: str, **changes: object) -> None:
    """Let every lease end now."""
    Work.objects.update(due=database_now(database) - timedelta(seconds=1), **changes)


def owed_ids() -> list[str]:
    return sorted(Work.objects.filter(state="owed").values_list("event__event_id", flat=True))


# deliver


def test_every_receiver_gets_every_event_once_and_nothing_is_owed_then(
    database: str, tracking: ReceiverSignal
) -> None:
    one, other = Log(tracking, "one"), Log(tracking, "other")
    claim = Claim()
    assert dispatch.deliver(store("A1", "B2", "C3", claim=claim), claim)
    assert one.ids == other.ids == ["A1", "B2", "C3"]
    assert not Work.objects.exists()
    assert counters.read() == {}


def test_a_receiver_is_called_as_anymails_are(database: str, tracking: ReceiverSignal) -> None:
    calls: list[dict[str, Any]] = []

    def receiver(sender: type, **kwargs: Any) -> None:
        calls.append({"sender": sender, **kwargs})

    tracking.connect(receiver)
    claim = Claim()
    owed = store("A1", claim=claim)
    dispatch.deliver(owed, claim)
    assert calls == [
        {
            "sender": SendGridTrackingWebhookView,
            "signal": tracking,
            "event": owed[0].event,
            "esp_name": "SendGrid",
        }
    ]


def test_what_a_receiver_does_to_its_event_the_next_one_does_not_see(
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
    claim = Claim()
    raw = opened("A1", category=["spring"], order="77")
    dispatch.deliver(inbox.store(entries(raw), claim).owed, claim)
    assert seen == [({"order": "77"}, ["spring"], raw)] * 3


def test_an_async_receiver_is_called(database: str, tracking: ReceiverSignal) -> None:
    came: list[str | None] = []

    async def receiver(event: TrackingEvent, **_: Any) -> None:
        came.append(event.event_id)

    tracking.connect(receiver)
    claim = Claim()
    dispatch.deliver(store("A1", "B2", claim=claim), claim)
    assert came == ["A1", "B2"]
    assert not Work.objects.exists()


def test_a_receiver_of_another_sender_is_left_out(database: str, tracking: ReceiverSignal) -> None:
    def receiver(**_: Any) -> None:
        raise AssertionError

    tracking.connect(receiver, sender=Log)
    claim = Claim()
    dispatch.deliver(store("A1", claim=claim), claim)
    assert counters.read() == {"no_receiver": 1}


def test_events_that_meet_no_receiver_are_done_and_counted(database: str) -> None:
    claim = Claim()
    assert dispatch.deliver(store("A1", "B2", claim=claim), claim)
    assert not Work.objects.exists()
    assert counters.read() == {"no_receiver": 2}


def test_an_event_of_a_door_that_is_gone_comes_without_a_sender(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tracking)
    monkeypatch.delitem(signals.doors, "tracking")
    claim = Claim()
    dispatch.deliver(store("A1", claim=claim), claim)
    assert log.ids == ["A1"]


def test_nothing_owed_is_nothing_to_do() -> None:
    assert dispatch.deliver([], Claim())


# A receiver that raises


def test_a_receiver_that_raises_stops_nobody(database: str, tracking: ReceiverSignal) -> None:
    first, failing, last = Log(tracking, "first"), Log(tracking, "failing", "B2"), Log(tracking, "last")
    claim = Claim()
    assert dispatch.deliver(store("A1", "B2", "C3", claim=claim), claim)
    assert first.ids == failing.ids == last.ids == ["A1", "B2", "C3"]


def test_its_event_is_dead_with_its_name_and_traceback(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    Log(tracking, "fine")
    Log(tracking, "shop", "B2")
    Log(tracking, "bank", "B2")
    claim = Claim()
    dispatch.deliver(store("A1", "B2", "C3", claim=claim), claim)
    work = Work.objects.get()
    assert (work.state, work.claim, work.failed, work.event.event_id) == (
        "dead",
        None,
        ["shop", "bank"],
        "B2",
    )
    assert work.error.count("RuntimeError: the shop is closed") == 2
    assert "Traceback" in work.error
    assert counters.read() == {"receiver_failed": 2}
    assert f"Receiver shop failed on event {work.pk}" in caplog.messages
    assert "the shop is closed" not in caplog.text


def test_an_async_receiver_that_raises_is_no_different(database: str, tracking: ReceiverSignal) -> None:
    async def closed(**_: Any) -> None:
        raise RuntimeError("the shop is closed")

    tracking.connect(closed, dispatch_uid="closed")
    claim = Claim()
    dispatch.deliver(store("A1", claim=claim), claim)
    assert Work.objects.get().failed == ["closed"]


def test_an_error_no_column_would_take_is_cleaned_and_cut(database: str, tracking: ReceiverSignal) -> None:
    def talks(**_: Any) -> None:
        raise RuntimeError("\0\ud800" + "x" * 30_000 + " the end")

    tracking.connect(talks)
    claim = Claim()
    dispatch.deliver(store("A1", claim=claim), claim)
    error = Work.objects.get().error
    assert len(error) == 20_000
    assert error.endswith("the end\n")


class Death(BaseException):
    """What a worker does not survive."""


@pytest.mark.parametrize("error", [SystemExit, CancelledError])
def test_a_receiver_that_asks_for_the_end_has_failed_and_no_more(
    database: str, tracking: ReceiverSignal, error: type[BaseException]
) -> None:
    def leaves(**_: Any) -> None:
        raise error

    log = Log(tracking)
    tracking.connect(leaves, dispatch_uid="leaves")
    claim = Claim()
    dispatch.deliver(store("A1", "B2", claim=claim), claim)
    assert log.ids == ["A1", "B2"]
    assert [(work.state, work.failed) for work in Work.objects.all()] == [("dead", ["leaves"])] * 2


def test_a_receiver_that_ends_the_process_leaves_the_rest_to_others(
    database: str, tracking: ReceiverSignal
) -> None:
    def leaves(event: TrackingEvent, **_: Any) -> None:
        if event.event_id == "B2":
            raise Death

    tracking.connect(leaves)
    claim = Claim()
    with pytest.raises(Death):
        dispatch.deliver(store("A1", "B2", "C3", claim=claim), claim)
    assert owed_ids() == ["B2", "C3"]
    assert [item.event.event_id for item in claims.take_released(Claim(), 10)] == ["C3"]


def test_a_receiver_that_breaks_a_transaction_of_its_own_breaks_no_other(
    database: str, tracking: ReceiverSignal
) -> None:
    def breaks(**_: Any) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT nonsense")

    tracking.connect(breaks, dispatch_uid="breaks")
    log = Log(tracking)
    claim = Claim()
    dispatch.deliver(store("A1", "B2", claim=claim), claim)
    assert log.ids == ["A1", "B2"]
    assert [work.failed for work in Work.objects.all()] == [["breaks"], ["breaks"]]


# Budget and lease


def test_over_its_budget_a_worker_does_one_event_and_releases_the_rest(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Log(tracking)
    claim = Claim()
    owed = store("A1", "B2", "C3", claim=claim)
    assert not dispatch.deliver(owed, out_of_budget(claim))
    assert (log.ids, owed_ids()) == (["A1"], ["B2", "C3"])
    assert set(Work.objects.values_list("claim", "attempts")) == {(None, 0)}
    assert claims.anything_released()
    assert not claims.anything_lapsed()


def test_what_was_released_is_the_next_workers(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    first, second = Claim(), Claim()
    dispatch.deliver(store("A1", "B2", "C3", claim=first), out_of_budget(first))
    owed = claims.take_released(second, 10)
    assert [(item.event.event_id, item.door) for item in owed] == [("B2", "tracking"), ("C3", "tracking")]
    assert set(Work.objects.values_list("claim", "attempts")) == {(second.token, 1)}
    assert dispatch.deliver(owed, second)
    assert log.ids == ["A1", "B2", "C3"]
    assert not Work.objects.exists()


def test_past_its_lease_a_worker_calls_nobody_and_touches_nothing(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Log(tracking)
    claim = Claim()
    owed = store("A1", "B2", claim=claim)
    assert not dispatch.deliver(owed, out_of_lease(claim))
    assert log.ids == []
    assert set(Work.objects.values_list("claim", "attempts")) == {(claim.token, 1)}


def test_the_time_limits_stand_in_order(settings: Settings) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, "RECEIVER_TIME_LIMIT": 45}
    assert claims.soft_limit() == claims.BUDGET + 45
    assert claims.soft_limit() < claims.hard_limit() < claims.lease().total_seconds()
    assert claims.lease_ms() == claims.lease().total_seconds() * 1000


def test_no_two_claims_are_alike() -> None:
    claims = [Claim() for _ in range(100)]
    assert len({claim.token for claim in claims}) == 100
    assert all(0 <= claim.token < 2**63 for claim in claims)


# claim_released


def test_only_so_many_are_claimed_oldest_first(database: str) -> None:
    claim = Claim()
    owed = store("A1", "B2", "C3", "D4", claim=claim)
    dispatch._release(owed, claim)
    assert [item.pk for item in claims.take_released(Claim(), 2)] == [item.pk for item in owed[:2]]
    assert len(claims.take_released(Claim(), 10)) == 2
    assert claims.take_released(Claim(), 10) == []


def test_no_room_for_more_asks_nothing() -> None:
    assert claims.take_released(Claim(), 0) == []


def test_what_is_claimed_lapsed_or_dead_is_not_released(database: str) -> None:
    store("A1", claim=Claim())
    assert claims.take_released(Claim(), 10) == []
    lapse(database)
    assert claims.take_released(Claim(), 10) == []
    lapse(database, attempts=0, state="dead")
    assert claims.take_released(Claim(), 10) == []
    assert not claims.anything_released()


def test_workers_that_claim_at_once_never_get_the_same_event(database: str) -> None:
    claim = Claim()
    owed = store(*(f"{number:03d}" for number in range(200)), claim=claim)
    dispatch._release(owed, claim)
    together = Barrier(4)

    def work(_: int) -> list[int]:
        together.wait()
        found: list[int] = []
        try:
            while batch := claims.take_released(Claim(), 7):
                found += [item.pk for item in batch]
        finally:
            connections.close_all()
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [pk for part in pool.map(work, range(4)) for pk in part]
    assert len(found) == len(set(found))
    assert set(found) | {item.pk for item in claims.take_released(Claim(), 200)} == {i.pk for i in owed}


# recover


def test_a_lapsed_event_is_taken_over(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    store("A1", "B2", claim=Claim())
    assert dispatch.recover(Claim())
    assert log.ids == []
    lapse(database)
    assert claims.anything_lapsed()
    assert dispatch.recover(Claim())
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]
    assert not Work.objects.exists()
    assert counters.read() == {"recovered": 2}


def test_one_at_a_time_and_the_attempt_is_counted_before_the_call(
    database: str, tracking: ReceiverSignal
) -> None:
    claim = Claim()
    seen: list[list[tuple[int, bool]]] = []

    def receiver(**_: Any) -> None:
        rows = Work.objects.order_by("-attempts").values_list("attempts", "claim")
        seen.append([(attempts, token == claim.token) for attempts, token in rows])

    tracking.connect(receiver)
    store("A1", "B2", "C3", claim=Claim())
    lapse(database)
    dispatch.recover(claim)
    assert seen == [
        [(2, True), (1, False), (1, False)],
        [(2, True), (1, False)],
        [(2, True)],
    ]


def test_an_event_that_takes_its_workers_down_is_given_up(database: str, tracking: ReceiverSignal) -> None:
    def dies(event: TrackingEvent, **_: Any) -> None:
        if event.event_id == "poison":
            raise Death

    tracking.connect(dies)
    store("poison", claim=Claim())
    for _ in range(claims.MOST_DEATHS):
        lapse(database)
        with pytest.raises(Death):
            dispatch.recover(Claim())
    store("innocent", claim=Claim())
    lapse(database)
    assert dispatch.recover(Claim())
    work = Work.objects.get()
    assert (work.state, work.claim, work.attempts) == ("dead", None, claims.MOST_DEATHS + 1)
    assert work.error == f"Its worker died or overran its time, {claims.MOST_DEATHS + 1} times."
    assert work.event.event_id == "poison"
    assert counters.read()["worker_died"] == 1


def test_a_recovered_event_whose_receiver_raises_is_dead(database: str, tracking: ReceiverSignal) -> None:
    Log(tracking, "shop", "A1")
    store("A1", claim=Claim())
    lapse(database)
    assert dispatch.recover(Claim())
    assert (Work.objects.get().state, Work.objects.get().failed) == ("dead", ["shop"])


def test_without_budget_nothing_is_recovered(database: str) -> None:
    store("A1", claim=Claim())
    lapse(database)
    assert not dispatch.recover(out_of_budget(Claim()))
    assert Work.objects.get().attempts == 1


def test_what_is_due_later_or_dead_is_left_alone(database: str) -> None:
    store("A1", claim=Claim())
    assert not claims.anything_lapsed()
    lapse(database, state="dead")
    assert not claims.anything_lapsed()
    assert dispatch.recover(Claim())
    assert Work.objects.get().attempts == 1


def test_a_worker_whose_events_were_taken_over_deletes_and_buries_nothing(
    database: str, tracking: ReceiverSignal
) -> None:
    slow, fast = Claim(), Claim()
    owed = store("A1", "B2", claim=slow)

    def receiver(event: TrackingEvent, **_: Any) -> None:
        Work.objects.update(claim=fast.token)
        if event.event_id == "B2":
            raise RuntimeError

    tracking.connect(receiver)
    dispatch.deliver(owed, slow)
    assert set(Work.objects.values_list("claim", "state")) == {(fast.token, "owed")}


def test_a_worker_whose_events_were_taken_over_releases_nothing(
    database: str, tracking: ReceiverSignal
) -> None:
    Log(tracking)
    slow, fast = Claim(), Claim()
    owed = store("A1", "B2", claim=slow)
    Work.objects.update(claim=fast.token)
    dispatch.deliver(owed, out_of_budget(slow))
    assert set(Work.objects.values_list("claim", "attempts")) == {(fast.token, 1)}


def test_workers_that_recover_at_once_call_nobody_twice(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    ids = [f"{number:02d}" for number in range(20)]
    store(*ids, claim=Claim())
    lapse(database)
    together = Barrier(3)

    def work(_: int) -> bool:
        together.wait()
        try:
            return dispatch.recover(Claim())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))
    assert sorted(filter(None, log.ids)) == ids


# The database away, in the middle


def test_done_marks_that_cannot_be_written_leave_the_events_owed(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tracking)
    claim = Claim()
    owed = store("A1", "B2", claim=claim)
    with away(database):
        assert dispatch.deliver(owed, claim)
    assert log.ids == ["A1", "B2"]
    assert "Could not mark 2 events done: OperationalError" in caplog.messages
    assert owed_ids() == ["A1", "B2"]


def test_a_failure_that_cannot_be_written_raises_and_leaves_the_events_owed(
    database: str, tracking: ReceiverSignal
) -> None:
    Log(tracking, "shop", "A1")
    claim = Claim()
    owed = store("A1", "B2", claim=claim)
    with away(database), pytest.raises(DatabaseError):
        dispatch.deliver(owed, claim)
    assert owed_ids() == ["A1", "B2"]


def test_done_marks_are_written_each_second(database: str) -> None:
    claim = Claim()
    first, second, _ = store("A1", "B2", "C3", claim=claim)
    done = dispatch._Done(claim)
    done.pks += [first.pk, second.pk]
    done.flushed += 3600
    done.flush_when_due()
    assert owed_ids() == ["A1", "B2", "C3"]
    done.flushed -= 7200
    done.flush_when_due()
    assert owed_ids() == ["C3"]
