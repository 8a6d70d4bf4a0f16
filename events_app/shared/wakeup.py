"""A wake-up is a task message that may be lost: how to send it, and what a failure does.

No data travels in it and nothing waits for it. Where it is lost, the next tick finds what waits.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from celery import Celery, Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection, Producer
from redis import Redis, RedisError

from events_app.shared import counters, redis
from events_app.shared.deadline import DeadlineExceeded, Threads

logger = logging.getLogger(__name__)

# Without these Celery computes them from the arguments for every message.
_NO_REPRS: dict[str, Any] = {"argsrepr": "()", "kwargsrepr": "{}"}

# Seconds until a broker that does not answer is given up. Celery and kombu by themselves wait for
# seconds to minutes, or for ever: kombu hands redis-py socket_timeout=None.
_BROKER_TIMEOUT = 1.0

# Seconds until `wake` returns, whatever the transport does. Each transport has its own options for time
# limits, and some have none that we know: boto3 waits a minute for a silent SQS, and tries again.
_WAKE_TIMEOUT = 1.2

# Seconds a process sends no wake-up after one that failed. Who sends many mails in a row is to wait once
# for a broker that does not answer; the tick wakes a worker for all of them. And as long nobody asks Redis
# again whether a wake-up is on its way, where it did not say.
_PAUSE = 5.0

# The same, at most: each publish that has not returned doubles the wait.
_LONGEST_PAUSE = 300.0

# Publishes that may hang at once. Above that a process wakes nobody until one of them returns; ticks do.
_MOST_STUCK = 32

_publishers = Threads("wake-up", _MOST_STUCK)
_thread = threading.local()
_paused_until = _redis_paused_until = 0.0


class Limits(NamedTuple):
    """Seconds after which a task is interrupted, and after which its process is killed."""

    soft: int
    hard: int


class Registered(NamedTuple):
    """The queue and the limits of a task made here."""

    queue: str
    limits: Limits


#: By the task's name: all tasks of the apps that are installed.
registered: dict[str, Registered] = {}


def task(
    name: str, *, queue: str, limits: Limits, keeps_result: bool = False
) -> Callable[[Callable[[], object]], "Task[[], object]"]:
    """A decorator for a task that a wake-up starts: acked when a worker has it, forgotten after an hour.

    These, the limits and the queue sit on the task, so that they hold in whatever Celery app runs it.
    """
    registered[name] = Registered(queue, limits)
    hooks: dict[str, Any] = {"on_bound": _publishes_to(queue)}  # celery-types does not list it
    return shared_task(
        name=name,
        **hooks,
        soft_time_limit=limits.soft,
        time_limit=limits.hard,
        acks_late=False,
        ignore_result=not keeps_result,
        # By the sender's clock and the worker's. An hour, so that no clock is that wrong: one that runs
        # a minute ahead would have every wake-up thrown away.
        expires=3600,
        max_retries=0,
    )


def _publishes_to(queue: str) -> "classmethod[Any, Any, None]":
    """A hook for `Task.on_bound` that gives the task its queue, for beat and for every other publisher.

    Celery 5.7 warns of a `queue` in the body of a task class and advises `task_routes`
    (celery/app/task.py, `Task.bind`). That setting belongs to the app, and the app may be a host project's.
    """

    def set_queue(task_class: Any, _app: Celery) -> None:
        task_class.queue = queue

    return classmethod(set_queue)


def wake_once(task: "Task[[], object]") -> None:
    """Wake a worker, unless a wake-up for the task is not yet acknowledged. Never raises.

    Commit the work before calling this. The worker looks for work after `acknowledge()`, or when its
    suppression ends. A lost wake-up suppresses others for 2 seconds. Redis keeps the flag; while it is
    unavailable, every call sends a wake-up.
    """
    sent = _ask_redis(task, lambda server, flag: not server.set(flag, 1, nx=True, px=redis.WAKE_UP_LIFETIME))
    if not sent and not wake(task):
        acknowledge(task)  # another process may have a broker that answers


def suppress(task: "Task[[], object]", seconds: float) -> None:
    """The caller looks for work when these are over, and not before: until then no wake-up is needed."""
    _ask_redis(task, lambda server, flag: server.set(flag, 1, px=int(seconds * 1000)))


def acknowledge(task: "Task[[], object]") -> None:
    """A worker is about to look for work: what comes from here on needs a new wake-up."""
    _ask_redis(task, lambda server, flag: server.delete(flag))


def _ask_redis(task: "Task[[], object]", question: Callable[[Redis, str], object]) -> object:
    """What Redis answers about the task's flag; None where it does not, and for some seconds after that."""
    global _redis_paused_until  # noqa: PLW0603 (one process, one Redis)
    if not _may_ask_redis():
        return None
    try:
        return question(redis.for_wake_ups(), _flag(task))
    except (RedisError, ImproperlyConfigured):
        _redis_paused_until = time.monotonic() + _PAUSE
        return None


def _may_ask_redis() -> bool:
    return time.monotonic() >= _redis_paused_until


def _flag(task: "Task[[], object]") -> str:
    return redis.key(f"wakeup:{task.name}")


def wake(task: "Task[[], object]") -> bool:
    """Send `task` to a worker, if the broker takes it within a second or so. Whether it did.

    Raises SoftTimeLimitExceeded, the caller's own, and nothing else.
    """
    global _paused_until  # noqa: PLW0603 (one process, one broker)
    if time.monotonic() < _paused_until:
        _count_failure()
        return False
    stuck = _publishers.late  # asked first: threads that try at the same time count as one
    try:
        if task.app.conf.task_always_eager:  # the task runs here: its caller's thread has the transaction
            _publish(task)
        else:
            _publishers.run(lambda: _publish(task), _WAKE_TIMEOUT)
    except SoftTimeLimitExceeded:  # of a task that wakes another one: its receiver, its drain must end
        raise
    except Exception as error:  # noqa: BLE001 (each transport has errors of its own)
        is_late = isinstance(error, DeadlineExceeded)
        _paused_until = time.monotonic() + min(_PAUSE * 2 ** (stuck + is_late), _LONGEST_PAUSE)
        why = "no answer" if is_late else type(error).__name__
        logger.warning("Could not wake a worker for %s (%s); the next tick retries.", task.name, why)
        _count_failure()
        return False
    return True


def _publish(task: "Task[[], object]") -> None:
    # The worker is told by the header whether to keep the result. Celery itself must not hear of one: with
    # results in Redis it would subscribe to them first, and wait for that Redis.
    headers: dict[str, Any] = {"ignore_result": task.ignore_result}
    try:
        task.apply_async(
            producer=_producer(task.app),
            retry=False,
            ignore_result=True,
            headers=headers,
            **_NO_REPRS,
        )
    except BaseException:
        _disconnect()
        raise


def _count_failure() -> None:
    # Where Redis has just not answered, who sends a mail is not to wait for it a second time.
    if _may_ask_redis():
        counters.count(counters.WAKE_UP_FAILED)


def _producer(app: Celery) -> Producer:
    # A connection of our own, one a thread: the app's may be set to wait for its broker, and in a
    # host project it is not ours to change. Options its transport does not know it passes over.
    if getattr(_thread, "owner", None) != (app, os.getpid()):
        # What a fork inherited is its parent's to hang up.
        _thread.__dict__.clear()
        connection: Connection = app.connection_for_write(
            connect_timeout=_BROKER_TIMEOUT,
            transport_options={
                "max_retries": 0,
                "retry_on_timeout": False,
                "socket_timeout": _BROKER_TIMEOUT,
                "socket_connect_timeout": _BROKER_TIMEOUT,
            },
        )
        _thread.producer = Producer(connection, auto_declare=False)
        _thread.owner, _thread.connection = (app, os.getpid()), connection
    producer: Producer = _thread.producer
    return producer


def _disconnect() -> None:
    # Not close(), which waits for an answer of a broker that has just given none.
    connection = getattr(_thread, "connection", None)
    _thread.__dict__.clear()
    if connection is not None:
        connection.collect(socket_timeout=_BROKER_TIMEOUT)
