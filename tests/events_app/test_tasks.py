"""What a worker does when a wake-up comes, from the stream to the receivers, in this process."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, connections
from django.test import Client

from events_app import stream, tasks
from events_app.dispatch import dispatcher, leases, retention
from events_app.dispatch.leases import Lease
from events_app.inbound import retention as inbound_retention
from events_app.models import (
    Event,
    HourlyCount,
    InboundMail,
    PendingDelivery,
    PendingInboundDelivery,
    UnfoldedCounts,
)
from events_app.shared import counters, engine, hourly, redis
from events_app.shared.database import database_now
from events_app.shared.engine import log_unavailable
from events_app.signals import EventType, InboundEvent, ReceiverSignal, TrackingEvent
from events_app.tasks import since_beat
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.databases import database_away, on_postgresql, terminate_connection
from tests.support.events.leases import make_due, pending_ids, store_leased
from tests.support.events.stored_events import open_event, store_aged, stored_pks
from tests.support.inbound.mails import keep_mail, sample_mail
from tests.support.recorded_calls import Call, Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

TASKS: tuple[Any, ...] = (
    *(
        tasks.drain,
        tasks.retry_events,
        tasks.recover_events,
        tasks.prune_events,
        tasks.fold_counts,
        tasks.tick,
    ),
    *(tasks.deliver_inbound, tasks.retry_inbound, tasks.recover_inbound, tasks.prune_inbound),
)


@pytest.fixture(autouse=True)
def nothing_to_fold() -> None:
    """Another process has just folded counts."""
    redis.take_lock("fold", 60_000)


def append(*events: Any) -> None:
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]
    stream.append("tracking", raw)


def wake_ups(queue: str = "sendgrid.events") -> list[str]:
    """The tasks that were woken, oldest first."""
    messages = redis.for_workers().lrange(queue, 0, -1)
    return [json.loads(message)["headers"]["task"] for message in reversed(messages)]


def test_signed_posts_reach_sync_and_async_receivers_once(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None]
) -> None:
    sender = WebhookSender()
    anymail(WEBHOOK_SECRET=[], SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=sender.public_key)
    events = generate_events(40)
    came: list[tuple[str | None, EventType]] = []
    came_async: list[str | None] = []

    def receiver(event: TrackingEvent, **_: Any) -> None:
        came.append((event.event_id, event.event_type))

    async def async_receiver(event: TrackingEvent, **_: Any) -> None:
        came_async.append(event.event_id)

    tracking.connect(receiver)
    tracking.connect(async_receiver)
    body = event_batch([*events, {"event": "teleported", "sg_event_id": "new"}, b"17", events[0]])
    for _ in range(2):
        answer = Client().post(
            "/anymail/sendgrid/tracking/",
            data=body,
            content_type="application/json",
            headers=sender.headers(body),
        )
        assert answer.status_code == 200
    assert wake_ups()
    tasks.drain()
    assert came_async == [*(event["sg_event_id"] for event in events), "new"]
    assert [event_id for event_id, _ in came] == came_async
    assert came[-1] == ("new", EventType.UNKNOWN)
    assert [work.state for work in PendingDelivery.objects.all()] == ["dead"]
    assert counters.read_counters() == {"events_duplicate": 44, "dead_letters unreadable": 1}


def test_a_drain_stores_and_delivers_all_waiting_events(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    append(open_event("A1"), {"event": "teleported", "sg_event_id": "B2"}, b"nonsense", open_event("A1"))
    tasks.drain()
    assert log.ids == ["A1", "B2"]
    assert (stream.backlog(), Event.objects.count()) == (0, 3)
    assert [work.state for work in PendingDelivery.objects.all()] == ["dead"]
    assert counters.read_counters() == {"events_duplicate": 1, "dead_letters unreadable": 1}


def test_a_drain_with_nothing_to_do_does_nothing(database: str) -> None:
    tasks.drain()
    assert wake_ups() == []


def test_a_drain_that_filled_its_batch_wakes_another(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setattr(tasks, "STAY", 0)
    redis.take_lock("tick", 60_000)
    append(*(open_event(str(number)) for number in range(tasks.BATCH + 1)))
    tasks.drain()
    assert (len(log.ids), wake_ups()) == (tasks.BATCH, ["events.drain"])
    tasks.drain()
    assert (len(log.ids), stream.backlog()) == (tasks.BATCH + 1, 0)


def test_a_drain_that_took_all_events_wakes_no_other(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    redis.take_lock("tick", 60_000)
    append(*(open_event(str(number)) for number in range(tasks.BATCH)))
    tasks.drain()
    assert (len(log.ids), wake_ups()) == (tasks.BATCH, [])


def test_a_drain_wakes_no_other_while_a_wake_up_is_on_its_way(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BATCH", 1)
    more = iter("BC")
    log = Recorder(tracking, does=lambda: append(open_event(next(more, "D"))) if len(log.ids) < 3 else None)
    redis.take_lock("tick", 60_000)
    append(open_event("1"))
    append(open_event("2"))
    tasks.drain()
    assert (len(log.ids), stream.backlog()) == (4, 0)
    assert wake_ups() == ["events.drain"]


def test_a_drain_goes_on_with_events_that_came_meanwhile(database: str, tracking: ReceiverSignal) -> None:
    def another_post() -> None:
        if len(log.ids) < 5:
            append(open_event(f"after {len(log.ids)}"))

    log = Recorder(tracking, does=another_post)
    append(open_event("first"))
    tasks.drain()
    assert log.ids == ["first", "after 1", "after 2", "after 3", "after 4"]
    assert (stream.backlog(), PendingDelivery.objects.count()) == (0, 0)


def test_a_drain_ends_when_the_database_goes_away_meanwhile(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = ExitStack()
    read_on = stream.read_on

    def as_the_database_goes_away(count: int) -> stream.Batch:
        outage.enter_context(database_away(database))
        return read_on(count)

    log = Recorder(tracking, does=lambda: append(open_event("later")) if len(log.ids) < 2 else None)
    monkeypatch.setattr(stream, "read_on", as_the_database_goes_away)
    append(open_event("first"))
    with outage:
        tasks.drain()
    assert (log.ids, stream.backlog()) == (["first"], 1)
    monkeypatch.undo()
    tasks.drain()
    assert (log.ids, stream.backlog()) == (["first", "later"], 0)


def test_a_drain_takes_released_events(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    store_leased("A1", lease=Lease())
    make_due(database, lease=None)
    append(open_event("B2"))
    tasks.drain()
    assert log.ids == ["A1", "B2"]
    assert not PendingDelivery.objects.exists()


def test_a_drain_takes_released_events_before_fresh_ones(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setattr(tasks, "BATCH", 2)
    monkeypatch.setattr(tasks, "STAY", 0)
    store_leased("A1", "B2", "C3", lease=Lease())
    make_due(database, lease=None)
    append(open_event("D4"))
    append(open_event("E5"))
    tasks.drain()
    assert (len(log.ids), stream.backlog(), wake_ups()[0]) == (2, 2, "events.drain")
    assert set(log.ids) < {"A1", "B2", "C3"}
    tasks.drain()
    assert (set(log.ids), stream.backlog()) == ({"A1", "B2", "C3", "D4"}, 1)
    tasks.drain()
    assert (log.ids[4:], stream.backlog(), PendingDelivery.objects.count()) == (["E5"], 0, 0)


def test_a_drain_does_not_retry_failed_receivers(database: str, tracking: ReceiverSignal) -> None:
    shop = Recorder(tracking, "shop", "A1")
    append(open_event("A1"))
    tasks.drain()
    make_due(database)
    tasks.drain()
    assert shop.calls == [Call("A1")]


def test_a_drain_that_leaves_work_wakes_another(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setattr(leases, "BUDGET", 0)
    append(open_event("A1"), open_event("B2"))
    tasks.drain()
    assert (log.ids, wake_ups()[0]) == (["A1"], "events.drain")
    tasks.drain()
    assert (log.ids, PendingDelivery.objects.count()) == (["A1", "B2"], 0)


def test_a_drain_runs_the_tick_without_beat(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    store_leased("A1", lease=Lease())
    make_due(database)
    tasks.drain()
    assert wake_ups("sendgrid.recovery") == ["events.recover"]
    tasks.recover_events()
    assert log.ids == ["A1"]


def test_a_drain_wakes_a_retry_for_due_events(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    store_leased("A1", lease=Lease())
    make_due(database, lease=None, failures=1)
    tasks.drain()
    assert (log.ids, wake_ups("sendgrid.retries")) == ([], ["events.retry"])
    tasks.retry_events()
    assert log.calls == [Call("A1", 2)]


def test_a_recovery_that_leaves_work_wakes_another(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BUDGET", 0)
    redis.take_lock("tick", 60_000)
    store_leased("A1", lease=Lease())
    make_due(database)
    tasks.recover_events()
    assert wake_ups("sendgrid.recovery") == ["events.recover"]


def test_a_recovery_releases_its_lock_before_it_wakes_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BUDGET", 0)
    held: list[bool] = []

    def an_idle_process_answers_at_once(_: object) -> None:
        held.append(bool(redis.for_workers().exists(redis.key("recover"))))

    monkeypatch.setattr(tasks, "wake", an_idle_process_answers_at_once)
    expired(database, "A1")
    tasks.recover_events()
    assert held == [False]


def expired(database: str, *event_ids: str) -> None:
    store_leased(*event_ids, lease=Lease())
    make_due(database)


@pytest.mark.parametrize("waits", ["in the stream", "released"])
def test_recovery_yields_to_fresh_events_and_makes_progress_at_each_tick(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    monkeypatch.setattr(dispatcher, "RECOVERY_SLICE", 0.0)
    redis.take_lock("tick", 60_000)
    log = Recorder(tracking)
    if waits == "released":
        store_leased("fresh", lease=Lease())
        make_due(database, lease=None)
    else:
        append(open_event("fresh"))
    expired(database, "A1", "B2")
    for recovered in (1, 2):
        tasks.recover_events()
        assert (len(log.ids), wake_ups("sendgrid.recovery")) == (recovered, [])
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]


def test_recovery_does_not_yield_without_fresh_events(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RECOVERY_SLICE", 0.0)
    log = Recorder(tracking)
    expired(database, "A1", "B2")
    tasks.recover_events()
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]


def test_only_one_process_recovers_at_a_time(database: str, tracking: ReceiverSignal) -> None:
    seen: list[int] = []

    def another_process() -> None:
        before = len(log.ids)
        tasks.recover_events()
        seen.append(len(log.ids) - before)

    log = Recorder(tracking, does=another_process)
    expired(database, "A1", "B2")
    tasks.recover_events()
    assert sorted(filter(None, log.ids)) == ["A1", "B2"]
    assert seen == [0, 0]


def test_the_recovery_lock_expires_within_the_hard_time_limit(
    database: str, tracking: ReceiverSignal
) -> None:
    left: list[int] = []
    Recorder(tracking, does=lambda: left.append(redis.for_workers().pttl(redis.key("recover"))))
    expired(database, "A1")
    tasks.recover_events()
    assert 0 < left[0] <= leases.hard_limit() * 1000
    assert not redis.for_workers().exists(redis.key("recover"))


def test_a_recovery_without_the_database_releases_its_lock(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    expired(database, "A1")
    with database_away(database):
        tasks.recover_events()
    tasks.recover_events()
    assert log.ids == ["A1"]


# Retries


def to_retry(database: str, *event_ids: str) -> None:
    store_leased(*event_ids, lease=Lease())
    make_due(database, lease=None, failures=1)


def test_retry_takes_all_due_events_in_small_batches(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased: list[int] = []
    monkeypatch.setattr(tasks, "RETRIES_AT_ONCE", 2)
    to_retry(database, "A1", "B2", "C3", "D4", "E5")
    log = Recorder(tracking, does=lambda: leased.append(PendingDelivery.objects.exclude(lease=None).count()))
    tasks.retry_events()
    assert (sorted(filter(None, log.ids)), pending_ids()) == (["A1", "B2", "C3", "D4", "E5"], [])
    assert leased == [2, 2, 2, 2, 1]
    assert wake_ups("sendgrid.retries") == []


def test_retry_calls_a_failing_receiver_once_per_run(database: str, tracking: ReceiverSignal) -> None:
    shop = Recorder(tracking, "shop", "A1")
    to_retry(database, "A1")
    tasks.retry_events()
    assert (shop.calls, pending_ids()) == ([Call("A1", 2)], ["A1"])


def test_retry_yields_to_fresh_events(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setattr(tasks, "RETRIES_AT_ONCE", 2)
    to_retry(database, "A1", "B2", "C3")
    append(open_event("fresh"))
    tasks.retry_events()
    assert (len(log.ids), len(pending_ids()), stream.backlog()) == (2, 1, 1)
    assert (wake_ups(), wake_ups("sendgrid.retries")) == (["events.drain"], ["events.retry"])


def test_retry_yields_to_released_events(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setattr(tasks, "RETRIES_AT_ONCE", 1)
    to_retry(database, "A1", "B2")
    store_leased("fresh", lease=Lease())
    PendingDelivery.objects.filter(failures=0).update(
        lease=None, due=database_now(database) - timedelta(seconds=1)
    )
    tasks.retry_events()
    assert len(log.ids) == 1


def test_retry_stops_out_of_budget_and_wakes_another(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BUDGET", 0)
    log = Recorder(tracking)
    to_retry(database, "A1", "B2")
    tasks.retry_events()
    assert (len(log.ids), len(pending_ids())) == (1, 1)
    assert wake_ups("sendgrid.retries") == ["events.retry"]


def test_retry_stops_out_of_budget_between_two_receivers_of_one_event(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BUDGET", 0)
    logs = [Recorder(tracking, "first"), Recorder(tracking, "second"), Recorder(tracking, "third")]
    to_retry(database, "A1")
    tasks.retry_events()
    assert [log.ids for log in logs] == [["A1"], [], []]
    assert PendingDelivery.objects.get().receivers == {"second": "", "third": ""}


# Retention


def test_a_tick_wakes_a_prune_that_removes_old_events(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    _, young = store_aged(database, 40, 0)
    tasks.tick()
    assert wake_ups("sendgrid.retries") == ["events.prune"]
    tasks.prune_events()
    assert stored_pks() == [young]
    assert wake_ups("sendgrid.retries") == ["events.prune"]


def test_a_prune_that_leaves_events_wakes_another(
    database: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    redis.take_lock("prune", 60_000)
    store_aged(database, 40, 40)
    monkeypatch.setattr(retention, "SLICE", 1)
    budget = iter([True, False])
    monkeypatch.setattr(Lease, "has_budget", lambda _: next(budget))
    tasks.prune_events()
    assert (len(stored_pks()), wake_ups("sendgrid.retries")) == (1, ["events.prune"])


# Counts for charts


def test_counts_that_one_task_cannot_fold_wake_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly, "FOLDED_AT_ONCE", 1)
    UnfoldedCounts.objects.create(counts={"events": [[500_000, "opened", 3]]})
    tasks.fold_counts()
    tasks.fold_counts()
    assert wake_ups("sendgrid.retries") == ["events.fold"]
    assert HourlyCount.objects.get().count == 3


# Inbound mails


def mails_owed(database: str, *numbers: int, **changes: object) -> None:
    for number in numbers:
        keep_mail(sample_mail(number))
    PendingInboundDelivery.objects.update(due=database_now(database) - timedelta(seconds=1), **changes)


def mails_in_hand() -> int:
    return PendingInboundDelivery.objects.exclude(lease=None).count()


class Reader:
    """A receiver of mails that notes whose they are, and with each what it sees then."""

    def __init__(self, signal: ReceiverSignal, sees: Callable[[], object] = mails_in_hand) -> None:
        self.read: list[str | None] = []
        self.saw: list[object] = []
        self.sees = sees
        signal.connect(self, dispatch_uid="reader", weak=False)

    def __call__(self, event: InboundEvent, **_: Any) -> None:
        self.read.append(event.message.message_id)
        self.saw.append(self.sees())


def message_ids(*numbers: int) -> list[str]:
    return [f"<{number}@mail.example.org>" for number in numbers]


def test_inbound_mails_are_delivered_in_small_batches(
    database: str, inbound: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAILS_AT_ONCE", 2)
    reader = Reader(inbound)
    mails_owed(database, 1, 2, 3)
    tasks.deliver_inbound()
    assert (reader.read, reader.saw) == (message_ids(1, 2, 3), [2, 2, 1])
    assert not PendingInboundDelivery.objects.exists()
    assert "inbound.deliver" not in wake_ups("sendgrid.inbound")


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (tasks.deliver_inbound, {}),
        (tasks.retry_inbound, {"failures": 1}),
        (tasks.recover_inbound, {"lease": 17}),
    ],
)
def test_an_inbound_task_that_leaves_mails_wakes_another(
    database: str,
    inbound: ReceiverSignal,
    monkeypatch: pytest.MonkeyPatch,
    task: Any,
    changes: dict[str, object],
) -> None:
    reader = Reader(inbound)
    mails_owed(database, 1, 2, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(leases, "BUDGET", 0)
        task()
    assert len(reader.read) <= 1
    assert task.name in wake_ups("sendgrid.inbound")
    task()
    assert sorted(filter(None, reader.read)) == message_ids(1, 2)
    assert not PendingInboundDelivery.objects.exists()


def test_retry_of_inbound_mails_yields_to_fresh_ones(
    database: str, inbound: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAILS_AT_ONCE", 1)
    reader = Reader(inbound)
    mails_owed(database, 1, 2, failures=1)
    keep_mail(sample_mail(3))
    tasks.retry_inbound()
    assert (len(reader.read), PendingInboundDelivery.objects.filter(failures=1).count()) == (1, 1)
    assert {"inbound.deliver", "inbound.retry"} <= set(wake_ups("sendgrid.inbound"))


def test_expired_inbound_mails_are_recovered_one_at_a_time(database: str, inbound: ReceiverSignal) -> None:
    reader = Reader(
        inbound, sees=lambda: sorted(PendingInboundDelivery.objects.values_list("worker_deaths", flat=True))
    )
    mails_owed(database, 1, 2, lease=17)
    tasks.recover_inbound()
    assert sorted(filter(None, reader.read)) == message_ids(1, 2)
    assert reader.saw == [[0, 1], [1]]
    assert not PendingInboundDelivery.objects.exists()


def test_recovery_of_inbound_mails_yields_to_fresh_ones_and_runs_in_one_process(
    database: str, inbound: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RECOVERY_SLICE", 0.0)
    reader = Reader(inbound, sees=tasks.recover_inbound)
    mails_owed(database, 1, 2, lease=17)
    keep_mail(sample_mail(3))
    for recovered in (1, 2):
        tasks.recover_inbound()
        assert len(reader.read) == recovered
    assert sorted(filter(None, reader.read)) == message_ids(1, 2)


def test_a_prune_removes_old_inbound_mails(
    database: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(INBOUND_RETENTION_DAYS=30)
    for number in range(2):
        keep_mail(sample_mail(number))
    PendingInboundDelivery.objects.all().delete()
    InboundMail.objects.update(received_at=database_now(database) - timedelta(days=31))
    monkeypatch.setattr(inbound_retention, "SLICE", 1)
    redis.take_lock("inbound_prune", 60_000)
    budget = iter([True, False])
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "has_budget", lambda _: next(budget))
        tasks.prune_inbound()
    assert (InboundMail.objects.count(), wake_ups("sendgrid.inbound")) == (1, ["inbound.prune"])
    tasks.prune_inbound()
    assert not InboundMail.objects.exists()
    assert wake_ups("sendgrid.inbound") == ["inbound.prune"]


def test_a_tick_wakes_the_inbound_tasks(database: str) -> None:
    mails_owed(database, 1, failures=1)
    mails_owed(database, 2)
    tasks.tick()
    assert set(wake_ups("sendgrid.inbound")) == {"inbound.deliver", "inbound.retry", "inbound.prune"}


# The tick


def test_a_tick_wakes_workers_despite_a_suppressed_wake_up(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "WAKE_UP_LIFETIME", 3_600_000)
    append(open_event("A1"))
    assert redis.for_workers().exists(redis.key("wakeup"))
    store_leased("B2", lease=Lease())
    make_due(database)
    tasks.tick()
    assert (wake_ups(), wake_ups("sendgrid.recovery")) == (["events.drain"], ["events.recover"])


def test_only_a_tick_counts_as_a_sign_of_beat(database: str) -> None:
    redis.for_workers().set(redis.key("beat"), 1)
    tasks.drain()
    late = since_beat()
    assert late is not None
    assert late > 3600
    tasks.tick()
    heard = since_beat()
    assert heard is not None
    assert heard < 3600


# What is away


def test_with_redis_away_every_task_logs_one_warning(
    database: str, anymail: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    for task in TASKS:
        engine._not_before.clear()  # some seconds later
        task()
    stopped = [message.partition(" stopped (ConnectionError: ")[0] for message in caplog.messages]
    assert stopped == ["Reading the stream", *(task.name for task in TASKS)]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_with_the_database_away_no_event_is_lost(database: str, tracking: ReceiverSignal) -> None:
    log = Recorder(tracking)
    append(open_event("A1"), open_event("B2"))
    with database_away(database):
        for task in TASKS:
            task()
    assert (log.ids, stream.backlog()) == ([], 2)
    tasks.drain()
    assert (sorted(filter(None, log.ids)), stream.backlog()) == (["A1", "B2"], 0)


# The soft time limit, wherever it strikes


@contextmanager
def interrupted(database: str, at: str) -> Iterator[None]:
    """The soft time limit strikes once, in the first statement that has these words."""
    strikes = iter([True])

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if at in sql and next(strikes, False):
            raise SoftTimeLimitExceeded
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        yield


@pytest.mark.parametrize("task", TASKS)
def test_a_task_interrupted_by_the_soft_time_limit_logs_one_line(
    database: str,
    anymail: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    task: Callable[[], None],
) -> None:
    anymail(EVENT_RETENTION_DAYS=30)
    with interrupted(database, at="events_app_"):
        task()
    (message,) = caplog.messages
    assert message.endswith(" stopped at its time limit; the next tick continues the work")


def test_a_drain_interrupted_by_the_time_limit_in_its_closing_tick_loses_nothing(
    database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    log = Recorder(tracking)
    append(open_event("A1"))
    with interrupted(database, at="events_app_pendinginbounddelivery"):
        tasks.drain()
    assert caplog.messages == ["events.drain stopped at its time limit; the next tick continues the work"]
    assert (log.ids, stream.backlog(), pending_ids()) == (["A1"], 0, [])


@pytest.mark.parametrize("at", ["INSERT INTO events_app_event", "INSERT INTO events_app_pendingdelivery"])
def test_events_whose_storing_is_interrupted_by_the_time_limit_are_read_again_at_once(
    database: str, tracking: ReceiverSignal, at: str
) -> None:
    log = Recorder(tracking)
    append(open_event("A1"))
    with interrupted(database, at):
        tasks.drain()
    assert (log.ids, stream.backlog()) == ([], 1)
    tasks.drain()
    assert (log.ids, stream.backlog()) == (["A1"], 0)


def test_results_whose_writing_is_interrupted_by_the_time_limit_are_written_by_the_next_task(
    database: str, tracking: ReceiverSignal
) -> None:
    log = Recorder(tracking)
    append(open_event("A1"), open_event("B2"))
    with interrupted(database, at="DELETE"):
        tasks.drain()
    assert (len(log.ids), len(pending_ids())) == (2, 2)
    tasks.drain()
    assert (len(log.ids), pending_ids()) == (2, [])


def test_a_time_limit_after_the_receivers_counts_no_worker_death(
    database: str, tracking: ReceiverSignal
) -> None:
    fine, shop = Recorder(tracking, "fine"), Recorder(tracking, "shop", "A1")
    append(open_event("A1"), open_event("B2"))
    with interrupted(
        database, at='UPDATE "events_app_pendingdelivery"'
    ):  # the failure of "shop" is to be written
        tasks.drain()
    tasks.drain()
    make_due(database)
    tasks.recover_events()
    assert fine.ids == ["A1", "B2"]
    assert shop.ids == ["A1", "B2", "A1"]
    assert PendingDelivery.objects.get().worker_deaths == 0


def test_the_log_quotes_no_values_of_a_database_error(caplog: pytest.LogCaptureFixture) -> None:
    with log_unavailable("events.drain"):
        raise DatabaseError("duplicate key\nDETAIL: Key (recipient)=(mira.okafor@example.net)")
    assert caplog.messages == [
        "events.drain stopped (DatabaseError: duplicate key); the next tick continues the work"
    ]
    assert "mira" not in caplog.text


@pytest.mark.parametrize("task", TASKS)
def test_every_task_first_writes_unwritten_results_of_an_outage(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None], task: Callable[[], None]
) -> None:
    outage = database_away(database)
    log = Recorder(tracking, does=outage.__enter__)
    append(open_event("A1"))
    tasks.drain()
    outage.__exit__(None, None, None)
    log.does = None
    assert (log.ids, pending_ids()) == (["A1"], ["A1"])
    task()
    assert (log.ids, pending_ids()) == (["A1"], [])


@on_postgresql
def test_the_next_task_reopens_a_broken_connection(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder(tracking)
    monkeypatch.setitem(connections[database].settings_dict, "CONN_MAX_AGE", None)
    connections[database].close()
    store_leased("A1", lease=Lease())
    make_due(database)
    terminate_connection(database)
    tasks.recover_events()
    assert log.ids == []
    tasks.recover_events()
    assert log.ids == ["A1"]
    connections[database].close()


@pytest.mark.parametrize(
    ("task", "name", "queue"),
    [
        (tasks.drain, "events.drain", "sendgrid.events"),
        (tasks.retry_events, "events.retry", "sendgrid.retries"),
        (tasks.recover_events, "events.recover", "sendgrid.recovery"),
        (tasks.prune_events, "events.prune", "sendgrid.retries"),
        (tasks.fold_counts, "events.fold", "sendgrid.retries"),
        (tasks.tick, "events.tick", "sendgrid.events"),
        (tasks.deliver_inbound, "inbound.deliver", "sendgrid.inbound"),
        (tasks.retry_inbound, "inbound.retry", "sendgrid.inbound"),
        (tasks.recover_inbound, "inbound.recover", "sendgrid.inbound"),
        (tasks.prune_inbound, "inbound.prune", "sendgrid.inbound"),
    ],
)
def test_each_task_has_its_name_queue_and_time_limits(task: Any, name: str, queue: str) -> None:
    assert (task.name, task.queue) == (name, queue)
    assert leases.BUDGET < task.soft_time_limit < task.time_limit < leases.lease_duration().total_seconds()
