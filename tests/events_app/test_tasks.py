"""What a worker does when a bell rings, from the stream to the receivers, in this process."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test import Client

from events_app import claims, counters, dispatch, redis, stream, tasks
from events_app.claims import Claim
from events_app.models import Event, Work
from events_app.signals import EventType, ReceiverSignal, TrackingEvent
from fake_sendgrid.events import history
from fake_sendgrid.webhook import Sender, batch
from tests.events_app.test_dispatch import Log, lapse, store
from tests.events_app.test_inbox import away, opened

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def append(*events: Any) -> None:
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]
    stream.append("tracking", raw)


def bells(queue: str = "sendgrid.events") -> list[str]:
    """The tasks that were rung for, oldest first."""
    messages = redis.worker().lrange(queue, 0, -1)
    return [json.loads(message)["headers"]["task"] for message in reversed(messages)]


def test_from_the_door_to_the_receivers(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None]
) -> None:
    sender = Sender()
    anymail(WEBHOOK_SECRET=[], SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=sender.public_key)
    events = history(40)
    came: list[tuple[str | None, EventType]] = []
    came_async: list[str | None] = []

    def receiver(event: TrackingEvent, **_: Any) -> None:
        came.append((event.event_id, event.event_type))

    async def async_receiver(event: TrackingEvent, **_: Any) -> None:
        came_async.append(event.event_id)

    tracking.connect(receiver)
    tracking.connect(async_receiver)
    body = batch([*events, {"event": "teleported", "sg_event_id": "new"}, b"17", events[0]])
    for _ in range(2):
        answer = Client().post(
            "/anymail/sendgrid/tracking/",
            data=body,
            content_type="application/json",
            headers=sender.headers(body),
        )
        assert answer.status_code == 200
    assert bells()
    tasks.drain()
    assert came_async == [*(event["sg_event_id"] for event in events), "new"]
    assert [event_id for event_id, _ in came] == came_async
    assert came[-1] == ("new", EventType.UNKNOWN)
    assert [work.state for work in Work.objects.all()] == ["dead"]
    assert counters.read() == {"duplicate": 44, "dead_on_arrival": 1}


def test_a_drain_stores_delivers_and_leaves_nothing(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    append(opened("A1"), {"event": "teleported", "sg_event_id": "B2"}, b"nonsense", opened("A1"))
    tasks.drain()
    assert log.ids == ["A1", "B2"]
    assert (stream.backlog(), Event.objects.count()) == (0, 3)
    assert [work.state for work in Work.objects.all()] == ["dead"]
    assert counters.read() == {"duplicate": 1, "dead_on_arrival": 1}


def test_a_drain_with_nothing_to_do_does_nothing(database: str) -> None:
    tasks.drain()
    assert bells() == []


def test_a_drain_that_read_all_it_may_rings_for_the_next(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    append(*(opened(str(number)) for number in range(tasks.BATCH + 1)))
    tasks.drain()
    assert (len(log.ids), bells()[0]) == (tasks.BATCH, "events.drain")
    tasks.drain()
    assert (len(log.ids), stream.backlog()) == (tasks.BATCH + 1, 0)


def test_a_drain_takes_what_others_released(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    claim = Claim()
    dispatch._release(store("A1", claim=claim), claim)
    append(opened("B2"))
    tasks.drain()
    assert log.ids == ["A1", "B2"]
    assert not Work.objects.exists()


def test_a_drain_that_leaves_work_rings(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tracking)
    monkeypatch.setattr(dispatch, "BUDGET", 0.0)
    append(opened("A1"), opened("B2"))
    tasks.drain()
    assert (log.ids, bells()[0]) == (["A1"], "events.drain")
    tasks.drain()
    assert (log.ids, Work.objects.count()) == (["A1", "B2"], 0)


def test_a_drain_ticks_so_a_missing_beat_is_survived(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    store("A1", claim=Claim())
    lapse(database)
    tasks.drain()
    assert bells("sendgrid.recovery") == ["events.recover"]
    tasks.recover()
    assert log.ids == ["A1"]


def test_a_recovery_that_leaves_work_rings(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "BUDGET", 0.0)
    store("A1", claim=Claim())
    lapse(database)
    tasks.recover()
    assert bells("sendgrid.recovery") == ["events.recover"]


def test_a_tick_rings_for_what_waits_whatever_the_bell_says(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BELL_LIFE", 3_600_000)
    append(opened("A1"))
    assert redis.worker().exists(redis.key("bell"))
    store("B2", claim=Claim())
    lapse(database)
    tasks.tick()
    assert (bells(), bells("sendgrid.recovery")) == (["events.drain"], ["events.recover"])


def test_with_redis_away_every_task_is_quiet(
    database: str, anymail: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    tasks.drain()
    tasks.recover()
    tasks.tick()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "Left drain, to be taken up again: ConnectionError" in caplog.text


def test_with_the_database_away_nothing_is_lost(database: str, tracking: ReceiverSignal) -> None:
    log = Log(tracking)
    append(opened("A1"), opened("B2"))
    with away(database):
        tasks.drain()
        tasks.recover()
        tasks.tick()
    assert (log.ids, stream.backlog()) == ([], 2)
    tasks.drain()
    assert (sorted(filter(None, log.ids)), stream.backlog()) == (["A1", "B2"], 0)


def test_the_log_quotes_no_values_from_a_databases_error(caplog: pytest.LogCaptureFixture) -> None:
    with tasks._quiet_while_away("drain"):
        raise DatabaseError("duplicate key\nDETAIL: Key (recipient)=(mira.okafor@example.net)")
    assert "Left drain, to be taken up again: DatabaseError: duplicate key" in caplog.messages
    assert "mira" not in caplog.text


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_connection_that_broke_is_made_anew_for_the_next_task(
    database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tracking)
    monkeypatch.setitem(connections[database].settings_dict, "CONN_MAX_AGE", None)
    connections[database].close()
    store("A1", claim=Claim())
    lapse(database)
    pid = connections[database].connection.info.backend_pid
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    tasks.recover()
    assert log.ids == []
    tasks.recover()
    assert log.ids == ["A1"]
    connections[database].close()


@pytest.mark.parametrize(
    ("task", "name", "queue"),
    [
        (tasks.drain, "events.drain", "sendgrid.events"),
        (tasks.recover, "events.recover", "sendgrid.recovery"),
        (tasks.tick, "events.tick", "sendgrid.events"),
    ],
)
def test_a_task_has_its_name_its_queue_and_its_limits(task: Any, name: str, queue: str) -> None:
    assert (task.name, task.queue) == (name, queue)
    assert claims.BUDGET < task.soft_time_limit < task.time_limit < claims.lease().total_seconds()
