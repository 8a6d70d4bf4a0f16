"""The tasks that a wake-up for mail runs, and the results that Celery keeps of them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any
from unittest import mock

import pytest
from celery.contrib.testing.worker import start_worker
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_postrun
from django.db import OperationalError, connections, transaction
from django_celery_results.models import TaskResult
from kombu.utils.json import dumps

from devstack.process import wait_for
from events_app.shared import hourly, redis, wakeup
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app import account, retention, tasks
from sending_app.delivery import leases, sender
from sending_app.exceptions import Outcome
from sending_app.models import HourlyCount, Mail, OutboxMessage, UnfoldedCounts
from tests.support.databases import database_away, on_postgresql, terminate_connection
from tests.support.sending.delivery import accepted_outcome, outcome_of, take_lease
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox
from workers.app import app

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def nothing_due(stream: str) -> Iterator[None]:
    """Reconciliation, retention and counts are not due."""
    server = redis.for_workers()
    names = ("sending-tick", "sending-reconcile", "sending-prune", "sending-count")
    for name in names[1:]:
        server.set(redis.key(name), 1, px=60_000)
    yield
    server.delete(*(redis.key(name) for name in names))
    sender.unwritten.writes.clear()


def wake_ups(queue: str = tasks.MAIL) -> list[str]:
    """The tasks of the wake-ups in the queue, oldest first."""
    messages = redis.for_workers().lrange(queue, 0, -1)
    return [json.loads(message)["headers"]["task"] for message in reversed(messages)]


def keeps_result(task: Any) -> bool:
    """Run a task as a worker does, and return whether Celery stores its result."""
    task.push_request()
    try:
        task.run()
        return not task.request.ignore_result
    finally:
        task.pop_request()


# The mails


def test_deliver_sends_due_mails_and_returns_their_counts(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400))
    for _ in range(3):
        put_in_outbox()
    assert tasks.deliver_mails() == {"failed": 1, "accepted": 2}
    assert tasks.deliver_mails() == {}
    assert [one.state for one in all_parts()] == ["failed", "accepted", "accepted"]


def test_the_task_result_is_json_without_addresses(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    result = tasks.deliver_mails()
    assert json.loads(dumps(result)) == {"accepted": 1}


def test_deliver_bulk_sends_one_request_at_a_time_in_its_own_lane(
    database: str, sendgrid: FakeSendGrid
) -> None:
    for _ in range(2):
        put_in_outbox(mail(bulk=True))
    put_in_outbox()
    assert tasks.deliver_bulk() == {"accepted": 1}
    assert [one.state for one in all_parts()] == ["accepted", "waiting", "waiting"]
    assert wake_ups(tasks.BULK) == [
        "sending.deliver_bulk",
        "sending.deliver_bulk",
    ]  # for another, and the tick
    assert tasks.deliver_mails() == {"accepted": 1}
    assert [one.state for one in all_parts()] == ["accepted", "waiting", "accepted"]


def test_deliver_wakes_another_worker_and_runs_the_tick(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    put_in_outbox()
    assert tasks.deliver_mails() == {"accepted": 2}
    assert wake_ups() == ["sending.deliver"]
    redis.for_workers().delete(tasks.MAIL, redis.key("sending-tick"))
    put_in_outbox(mail(bulk=True))
    tasks.deliver_mails()
    assert (wake_ups(), wake_ups(tasks.BULK)) == ([], ["sending.deliver_bulk"])


def test_a_mail_that_arrives_while_a_worker_lingers_needs_no_wake_up(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def come_meanwhile(_: float) -> None:
        for _ in range(came.pop() if came else 0):
            put_in_outbox()
            tasks.wake_for(Mail.Lane.MAIL)

    came = [1, 2]
    put_in_outbox()
    monkeypatch.setattr("time.sleep", come_meanwhile)
    monkeypatch.setattr(tasks, "IDLE_WAIT", 1)
    monkeypatch.setattr(tasks, "MAX_IDLE_WAIT", 10)
    assert tasks.deliver_mails() == {"accepted": 4}
    assert wake_ups() == []
    wakeup.acknowledge(tasks.deliver_mails)  # as the time does
    tasks.wake_for(Mail.Lane.MAIL)
    assert wake_ups() == ["sending.deliver"]


def test_an_occasional_mail_does_not_make_a_worker_linger_for_ever(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_outbox()
    monkeypatch.setattr("time.sleep", lambda _: put_in_outbox())
    monkeypatch.setattr(tasks, "IDLE_WAIT", 0.5)
    assert tasks.deliver_mails() == {"accepted": 3}


def test_several_mails_that_arrive_while_a_worker_lingers_wake_another(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def come_meanwhile(_: float) -> None:
        wakeup.acknowledge(tasks.deliver_mails)  # the silence is over
        if len(all_parts()) == 1:
            put_in_outbox()
            put_in_outbox()

    put_in_outbox()
    monkeypatch.setattr("time.sleep", come_meanwhile)
    assert tasks.deliver_mails() == {"accepted": 3}
    assert wake_ups() == ["sending.deliver"]


def test_each_lane_has_its_own_wake_up_outside_any_transaction(database: str) -> None:
    tasks.wake_for(Mail.Lane.MAIL)
    tasks.wake_for(Mail.Lane.BULK)
    assert (wake_ups(), wake_ups(tasks.BULK)) == (["sending.deliver"], ["sending.deliver_bulk"])
    assert not transaction.get_connection(database).in_atomic_block


# Settling, the tick, retention


def test_settle_returns_the_counts_of_reconciled_mails(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one")
    put_in_outbox()
    take_lease()
    Mail.objects.update(due=only_part().created_at)
    assert tasks.reconcile_unknown() == {"unknown": 1}
    assert not tasks.reconcile_unknown()


def test_the_tick_wakes_the_due_tasks(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one")
    put_in_outbox()
    put_in_outbox(mail(bulk=True))
    put_in_outbox()
    Mail.objects.filter(pk=all_parts()[-1].pk).update(state="unknown", due=all_parts()[0].created_at)
    redis.for_workers().delete(redis.key("sending-prune"), redis.key("sending-count"))
    tasks.tick_sending()
    assert sorted(wake_ups()) == ["sending.deliver", "sending.reconcile"]
    assert wake_ups(tasks.BULK) == ["sending.deliver_bulk", "sending.prune", "sending.count"]
    tasks.tick_sending()
    assert len(wake_ups()) == 2


def test_a_prune_out_of_budget_wakes_another(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks.prune_mails()
    assert wake_ups(tasks.BULK) == []
    put_in_outbox()
    Mail.objects.update(state="accepted", finished_at=only_part().created_at.replace(year=2020))
    OutboxMessage.objects.update(created_at=only_part().created_at.replace(year=2020))
    monkeypatch.setattr(tasks, "BUDGET", 0)
    redis.release_lock("sending-tick")
    tasks.prune_mails()
    assert wake_ups(tasks.BULK) == ["sending.prune"]
    monkeypatch.undo()
    tasks.prune_mails()
    assert OutboxMessage.objects.get().content is None
    assert retention.remove_old_messages(lambda: True)


def test_counts_that_one_task_cannot_fold_wake_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly, "FOLDED_AT_ONCE", 1)
    UnfoldedCounts.objects.create(counts={"latency": [[500_000, "1", 3]]})
    tasks.count_mails()
    assert wake_ups(tasks.BULK) == ["sending.count"]
    tasks.count_mails()
    assert wake_ups(tasks.BULK) == ["sending.count"]
    assert HourlyCount.objects.get().count == 3


# The database away

TASKS: list[Callable[[], Any]] = [
    *(
        tasks.deliver_mails,
        tasks.deliver_bulk,
        tasks.reconcile_unknown,
        tasks.prune_mails,
        tasks.tick_sending,
    ),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_database_outage_is_logged_as_one_warning(
    database: str, task: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with database_away(database):
        assert not task()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert " stopped (OperationalError: " in caplog.messages[0]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_unwritten_outcomes_are_written_by_the_next_task(
    database: str, sendgrid: FakeSendGrid, task: Callable[[], Any]
) -> None:
    put_in_outbox()
    sender.unwritten.writes.append(partial(sender._record, take_lease(), accepted_outcome()))
    with database_away(database):
        assert not task()
    assert only_part().state == "posting"
    task()
    assert only_part().state == "accepted"


def test_a_database_outage_after_the_request_loses_no_outcome(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE sending_app_mail" in sql and sendgrid.requests:
            raise OperationalError("gone\nwith ann@example.com in it")
        return call(sql, params, many, context)

    put_in_outbox()
    with connections[database].execute_wrapper(execute):
        assert not tasks.deliver_mails()
    assert (only_part().state, len(sendgrid.accepted)) == ("posting", 1)
    assert "ann@example.com" not in caplog.text
    assert not tasks.deliver_mails()
    assert (only_part().state, only_part().sent_twice, len(sendgrid.accepted)) == ("accepted", False, 1)


# The soft time limit


@contextmanager
def interrupted(database: str, at: str, when: Callable[[], object] = lambda: True) -> Iterator[None]:
    """The soft time limit strikes once, in the first statement that begins so."""
    strikes = iter([True])

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.strip().startswith(at) and when() and next(strikes, False):
            raise SoftTimeLimitExceeded
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        yield


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_interrupted_by_the_soft_time_limit_logs_one_line(
    database: str,
    sendgrid: FakeSendGrid,
    task: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with interrupted(database, at=""):
        assert not task()
    (message,) = caplog.messages
    assert message.endswith(" stopped at its time limit; the next tick continues the work")


def test_a_task_interrupted_by_the_time_limit_in_its_closing_tick_keeps_its_result(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox(mail(bulk=True))
    with interrupted(database, at="SELECT", when=lambda: sendgrid.accepted):  # whether anything is due
        assert tasks.deliver_bulk() == {"accepted": 1}
    assert caplog.messages == [
        "sending.deliver_bulk stopped at its time limit; the next tick continues the work"
    ]


def test_an_outcome_whose_writing_is_interrupted_by_the_time_limit_is_written_by_the_next_task(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    with interrupted(database, at="WITH free", when=lambda: sendgrid.accepted):
        assert not tasks.deliver_mails()
    assert (only_part().state, len(sendgrid.accepted)) == ("posting", 1)
    tasks.deliver_mails()
    assert (only_part().state, only_part().unknown_outcomes, len(sendgrid.accepted)) == ("accepted", 0, 1)


# A connection that broke, and Celery's result


@on_postgresql
def test_a_connection_broken_in_a_task_is_closed_before_the_result_is_stored(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post_then_break(*_: object) -> Counter[str]:
        terminate_connection(database)
        return Counter(accepted=1)

    redis.for_workers().set(redis.key("sending-tick"), 1, px=60_000)  # the closing tick asks nothing
    monkeypatch.setattr(sender, "post_due_mails", post_then_break)
    assert tasks.deliver_bulk() == {"accepted": 1}
    assert Mail.objects.count() == 0


@on_postgresql
def test_no_result_is_kept_when_the_database_is_away(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as outage:

        def post_then_break(*_: object) -> Counter[str]:
            terminate_connection(database)
            outage.enter_context(mock.patch.dict(connections[database].settings_dict, {"PORT": 1}))
            return Counter(accepted=1)

        redis.for_workers().set(redis.key("sending-tick"), 1, px=60_000)
        monkeypatch.setattr(sender, "post_due_mails", post_then_break)
        assert not keeps_result(tasks.deliver_bulk)
    connections[database].close()


def test_without_redis_mails_are_sent(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    put_in_outbox()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert tasks.deliver_mails() == {"accepted": 1}


# Celery


def test_task_options_are_set_on_the_tasks_themselves() -> None:
    for task in (
        tasks.deliver_mails,
        tasks.deliver_bulk,
        tasks.reconcile_unknown,
        tasks.prune_mails,
        tasks.tick_sending,
    ):
        assert (task.acks_late, task.max_retries, task.expires) == (False, 0, 3600)
        assert (task.soft_time_limit, task.time_limit) == (
            tasks.sending_soft_limit(),
            tasks.sending_hard_limit(),
        )
        assert getattr(task, "queue", None) in (tasks.MAIL, tasks.BULK)
    assert [
        task.ignore_result for task in (tasks.deliver_mails, tasks.deliver_bulk, tasks.reconcile_unknown)
    ] == [False] * 3
    assert [task.ignore_result for task in (tasks.prune_mails, tasks.tick_sending)] == [True] * 2


def test_time_limits_leave_a_request_its_timeout(anymail: Callable[..., None]) -> None:
    for timeout in (1, 30, (7, 1200)):
        anymail(REQUESTS_TIMEOUT=timeout, SENDGRID_API_KEY="SG.one")
        one = account.named("default")
        assert tasks.BUDGET + sum(one.timeout) < tasks.sending_soft_limit() < tasks.sending_hard_limit()
        # Whoever overruns is dead before anybody calls its last part unknown.
        assert tasks.sending_hard_limit() - tasks.BUDGET <= leases.lease_time(one).total_seconds()


def headers_of_the_bell(task: Any) -> dict[str, Any]:
    wakeup.wake(task)
    (message,) = redis.for_workers().lrange(task.queue, 0, -1)
    headers: dict[str, Any] = json.loads(message)["headers"]
    return headers


def test_the_wake_up_header_says_whether_to_keep_the_result() -> None:
    assert headers_of_the_bell(tasks.deliver_mails)["ignore_result"] is False
    assert headers_of_the_bell(tasks.prune_mails)["ignore_result"] is True
    assert app.conf.task_ignore_result is True


@pytest.fixture
def closing() -> Iterator[None]:
    """The worker is a thread of ours, and its connections end with it."""

    def close(**_: Any) -> None:
        connections.close_all()

    task_postrun.connect(close)
    yield
    task_postrun.disconnect(close)


@contextmanager
def worker(**options: Any) -> Iterator[None]:
    """A worker of both mail queues, as a thread."""
    app.autodiscover_tasks(force=True)
    queues = [tasks.MAIL, tasks.BULK]
    with start_worker(app, pool="solo", perform_ping_check=False, queues=queues, **options):
        yield


@pytest.mark.usefixtures("closing")
def test_a_worker_keeps_only_results_of_deliveries(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400))
    put_in_outbox()
    put_in_outbox()
    with worker():
        wakeup.wake(tasks.prune_mails)
        wakeup.wake(tasks.deliver_mails)
        wait_for(TaskResult.objects.exists, seconds=20, what="a result")
    (row,) = TaskResult.objects.all()
    assert json.loads(row.result) == {"failed": 1, "accepted": 1}
    assert (row.task_name, row.task_args, row.task_kwargs) == ("sending.deliver", '"()"', '"{}"')
    assert "example.com" not in json.dumps(list(TaskResult.objects.values()), default=str)


@pytest.mark.usefixtures("closing")
def test_monitors_see_the_end_and_the_result_of_each_task_but_no_ticks(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400))
    put_in_outbox()
    put_in_outbox()
    state: Any = app.events.State()

    expected = {
        ("sending.deliver", "SUCCESS", "{'failed': 1, 'accepted': 1}"),
        ("sending.deliver", "SUCCESS", "{}"),  # two mails wake two workers
        ("sending.prune", "SUCCESS", "None"),
    }
    with app.connection_for_read() as connection:
        monitor = app.events.Receiver(connection, handlers={"*": state.event})
        with worker(task_events=True), monitor.consumer_context() as (events, _, _):

            def seen() -> set[tuple[str, str, str]]:
                with suppress(TimeoutError):
                    while True:
                        events.drain_events(timeout=0.1)
                return {(task.name, task.state, task.result) for task in state.tasks.values()}

            seen()  # the first call subscribes
            for task in (tasks.tick_sending, tasks.deliver_mails, tasks.prune_mails):
                wakeup.wake(task)
            wait_for(lambda: seen() == expected, seconds=20, what="the end of each task")


def test_event_feedback_wins_over_an_unwritten_outcome(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    sender.unwritten.writes.append(partial(sender._record, take_lease(), outcome_of(Outcome.UNKNOWN)))
    receive_events(event_payload("processed", stored_recipients()[0]))
    tasks.deliver_mails()
    assert only_part().state == "accepted"
