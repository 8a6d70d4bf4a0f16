"""A wake-up reaches the broker within a second or so, or is counted as lost. It never raises."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded

from devstack.process import wait_for
from events_app import tasks
from events_app.shared import counters, redis, wakeup
from events_app.shared.deadline import Threads
from events_app.shared.wakeup import Limits
from tests.support.brokers import UNREACHABLE, SilentBroker
from tests.support.certificates import Authority
from tests.support.tls_proxy import tls_proxy
from workers.app import app


def threads_connection() -> Any:
    """The broker's connection that the thread of wake-ups has."""
    return wakeup._publishers.run(lambda: wakeup._thread.connection, 10)


def waiting(queue: str = "sendgrid.events") -> int:
    return int(redis.for_workers().llen(queue))


def test_each_wake_up_is_a_message_in_the_queue_of_its_task() -> None:
    wakeup.wake(tasks.drain)
    wakeup.wake(tasks.tick)
    wakeup.wake(tasks.recover_events)
    assert (waiting(), waiting("sendgrid.recovery")) == (2, 1)
    assert counters.read_counters() == {}


def test_a_wake_up_message_has_no_arguments_and_expires() -> None:
    wakeup.wake(tasks.drain)
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("sendgrid.events").get_nowait()
    assert message.payload[:2] == [[], {}]
    assert message.headers["task"] == "events.drain"
    assert message.headers["expires"]
    assert message.headers["ignore_result"]


@pytest.mark.usefixtures("broker_away")
def test_a_failed_wake_up_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    wakeup.wake(tasks.drain)
    wakeup.wake(tasks.drain)
    assert counters.read_counters() == {"wake_ups_failed": 2}
    assert (
        "Could not wake a worker for events.drain (OperationalError); the next tick retries."
        in caplog.messages
    )


def test_a_wake_up_over_a_refused_connection_says_what_to_set(
    use_broker: Callable[[str], None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    port = urlsplit(redis.REDIS_URL.get()).port
    assert port
    with tls_proxy(port, Authority(tmp_path / "authority").issue("127.0.0.1")) as tls_port:
        use_broker(f"rediss://:f6c0b58d@127.0.0.1:{tls_port}/0?ssl_cert_reqs=required")
        wakeup.wake(tasks.drain)
    assert "worker for events.drain (the certificate of Redis is not trusted" in caplog.text
    assert "f6c0b58d" not in caplog.text


def test_a_wake_up_with_a_broken_url_logs_no_password(
    use_broker: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    use_broker("redis://:f6c0b58d/x@redis.example.com/0")
    wakeup.wake(tasks.drain)
    assert "Could not wake a worker for events.drain (ValueError)" in caplog.text
    assert "f6c0b58d" not in caplog.text


def test_a_wake_up_reconnects_after_a_failure(monkeypatch: pytest.MonkeyPatch, broker_away: None) -> None:
    wakeup.wake(tasks.drain)
    monkeypatch.delenv("CELERY_BROKER_WRITE_URL")
    wakeup._paused_until = 0.0  # some seconds later
    wakeup.wake(tasks.drain)
    assert waiting() == 1
    assert counters.read_counters() == {"wake_ups_failed": 1}


@pytest.mark.usefixtures("broker_away")
def test_a_wake_up_without_broker_and_redis_raises_nothing(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    wakeup.wake(tasks.drain)


def test_all_wake_ups_of_a_thread_share_one_connection() -> None:
    wakeup.wake(tasks.drain)
    connection = threads_connection()
    wakeup.wake(tasks.recover_events)
    assert threads_connection() is connection


def test_each_celery_app_has_its_own_connection() -> None:
    wakeup._producer(app)
    connection = wakeup._thread.connection
    other = Celery("other", broker=app.conf.broker_url, set_as_current=False)
    other.conf.broker_transport_options = {"max_retries": 7}
    wakeup._producer(other)
    assert wakeup._thread.connection is not connection
    assert wakeup._thread.connection.transport_options["max_retries"] == 0
    wakeup._thread.__dict__.clear()


def test_wake_up_tasks_ack_early_ignore_results_and_have_no_retry() -> None:
    for task in (tasks.drain, tasks.recover_events, tasks.tick):
        assert (task.acks_late, task.ignore_result, task.max_retries) == (False, True, 0)
        assert task.expires == 3600


#: Threads in which the next one ran.
ran: list[int] = []


@wakeup.task("tests.kept", queue="sendgrid.events", limits=Limits(1, 2), keeps_result=True)
def kept() -> int:
    ran.append(threading.get_ident())
    return 17


def test_a_wake_up_message_asks_the_worker_to_keep_the_result_of_its_task() -> None:
    wakeup.wake(kept)
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("sendgrid.events").get_nowait()
    headers: Any = message.headers
    assert headers["ignore_result"] is False
    assert (kept.ignore_result, kept.acks_late) == (False, False)
    assert (kept.soft_time_limit, kept.time_limit) == (1, 2)


def test_a_wake_up_with_a_kept_result_does_not_contact_the_result_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery would subscribe to a Redis with results before it sends: `wake` says that nothing is kept."""
    asked: list[str] = []
    monkeypatch.setattr(app.backend, "on_task_call", lambda *_: asked.append("asked"), raising=False)
    wakeup.wake(kept)
    assert (waiting(), asked) == (1, [])
    # A connection of its own: Celery's pool may have kept one to the broker of another test.
    with app.connection_for_write() as connection:
        kept.apply_async(producer=app.amqp.Producer(connection), retry=False)
    assert asked == ["asked"]


def test_a_second_wake_up_after_a_failure_does_not_wait_for_the_broker(
    monkeypatch: pytest.MonkeyPatch, broker_away: None
) -> None:
    wakeup.wake(tasks.drain)
    monkeypatch.setattr(wakeup, "_producer", lambda _: pytest.fail("it tried again"))
    wakeup.wake(tasks.drain)
    assert counters.read_counters()["wake_ups_failed"] == 2


# Whatever the transport does


def test_a_soft_time_limit_interrupts_a_wake_up(
    silent_broker: SilentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "WAKE_TIMEOUT", 60.0)

    def strike(*_: object) -> None:
        raise SoftTimeLimitExceeded

    def limit() -> None:
        wait_for(lambda: silent_broker.connections, seconds=30, what="the publish waits")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, strike)
    celery = threading.Thread(target=limit)
    celery.start()
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            wakeup.wake(tasks.drain)
    finally:
        celery.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_wake_up_times_out_on_a_transport_that_never_returns(
    silent_broker: SilentBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):  # after the first, none is tried
        assert not wakeup.wake(tasks.drain)
    assert "Could not wake a worker for events.drain (no answer); the next tick retries." in caplog.messages
    assert (len(silent_broker.connections), wakeup._publishers.late) == (1, 1)
    assert counters.read_counters() == {"wake_ups_failed": 3}


def test_backoff_of_a_hanging_broker_doubles_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, silent_broker: SilentBroker
) -> None:
    monkeypatch.setattr(wakeup, "WAKE_TIMEOUT", 0.05)
    waits = []
    for _ in range(8):
        wakeup._paused_until = 0.0  # some time later
        before = time.monotonic()
        wakeup.wake(tasks.drain)
        waits.append(round(wakeup._paused_until - before) // 10)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_concurrent_failed_wake_ups_raise_the_backoff_once(silent_broker: SilentBroker) -> None:
    before = time.monotonic()
    ringing = [threading.Thread(target=wakeup.wake, args=(tasks.drain,)) for _ in range(6)]
    for thread in ringing:
        thread.start()
    for thread in ringing:
        thread.join()
    assert wakeup._publishers.late > 1
    assert wakeup._paused_until - before < 2 * wakeup._PAUSE + 60


def test_hanging_publisher_threads_are_limited(
    monkeypatch: pytest.MonkeyPatch, silent_broker: SilentBroker
) -> None:
    monkeypatch.setattr(wakeup, "_publishers", Threads("test", 2))
    monkeypatch.setattr(wakeup, "WAKE_TIMEOUT", 0.05)
    for _ in range(4):
        wakeup._paused_until = 0.0  # some time later
        wakeup.wake(tasks.drain)
    assert wakeup._publishers.late == 2
    silent_broker.hang_up()
    wait_for(lambda: not wakeup._publishers.late, seconds=60, what="the threads are back")


def test_a_wake_up_succeeds_once_the_broker_answers_again(
    monkeypatch: pytest.MonkeyPatch, silent_broker: SilentBroker
) -> None:
    wakeup.wake(tasks.drain)
    monkeypatch.delenv("CELERY_BROKER_WRITE_URL")
    wakeup._paused_until = 0.0  # some time later
    assert wakeup.wake(tasks.drain)
    assert waiting() == 1


def test_eager_tasks_run_in_the_thread_of_their_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    ran.clear()
    assert wakeup.wake(kept)
    assert ran == [threading.get_ident()]


# Once for many


def test_wake_ups_are_suppressed_until_a_worker_acknowledges_one() -> None:
    for _ in range(3):
        wakeup.wake_once(tasks.drain)
    assert waiting() == 1
    wakeup.acknowledge(tasks.drain)
    wakeup.wake_once(tasks.drain)
    assert waiting() == 2


def flag_of(task: "Task[[], object]") -> str:
    return redis.key(f"wakeup:{task.name}")


def test_each_task_has_its_own_wake_up() -> None:
    wakeup.wake_once(tasks.drain)
    wakeup.wake_once(tasks.tick)
    assert waiting() == 2


def test_a_lost_wake_up_suppresses_others_for_2_seconds() -> None:
    wakeup.wake_once(tasks.drain)
    assert 0 < redis.for_workers().pttl(flag_of(tasks.drain)) <= 2000


def test_suppress_lasts_for_the_given_time() -> None:
    wakeup.suppress(tasks.drain, 1.5)
    wakeup.wake_once(tasks.drain)
    assert waiting() == 0
    assert 0 < redis.for_workers().pttl(flag_of(tasks.drain)) <= 1500


def test_an_unusable_setting_does_not_suppress_wake_ups(anymail: Callable[..., None]) -> None:
    anymail(EVENT_STREAM="")
    wakeup.acknowledge(tasks.drain)
    wakeup.suppress(tasks.drain, 1)
    wakeup.wake_once(tasks.drain)
    assert waiting() == 1


def test_a_failed_wake_up_suppresses_no_other(broker_away: None) -> None:
    for _ in range(2):  # the second time it is not even tried
        wakeup.wake_once(tasks.drain)
        assert not redis.for_workers().exists(flag_of(tasks.drain))


def test_a_wake_up_is_sent_when_redis_is_away(anymail: Callable[..., None]) -> None:
    server = redis.for_workers()
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    wakeup.suppress(tasks.drain, 1)
    for _ in range(2):
        wakeup.wake_once(tasks.drain)
        wakeup.acknowledge(tasks.drain)
    assert server.llen("sendgrid.events") == 2


def test_a_second_wake_up_after_a_redis_failure_does_not_contact_redis(
    monkeypatch: pytest.MonkeyPatch, anymail: Callable[..., None]
) -> None:
    server = redis.for_workers()
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    wakeup.wake_once(tasks.drain)
    monkeypatch.setattr(redis, "for_wake_ups", lambda: pytest.fail("it asked again"))
    wakeup.wake_once(tasks.drain)
    assert server.llen("sendgrid.events") == 2


@pytest.mark.usefixtures("broker_away")
def test_a_failed_wake_up_is_not_counted_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch, anymail: Callable[..., None]
) -> None:
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    monkeypatch.setattr(wakeup, "count", lambda *_: pytest.fail("it counted"))
    for _ in range(2):
        wakeup.wake_once(tasks.drain)


def test_a_failed_wake_up_check_does_not_pause_redis_for_posts(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    wakeup.wake_once(tasks.drain)
    assert not redis.is_circuit_open()
