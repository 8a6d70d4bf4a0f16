"""Wake-ups: task messages without data that tell a worker to look for work.

A wake-up may be lost: the next tick finds the work. A test run has no workers and sends no wake-up.
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
from events_app.shared.backoff import exponential
from events_app.shared.counting import count
from events_app.shared.deadline import DeadlineExceeded, Threads
from events_app.shared.eager import is_eager
from events_app.shared.redis_faults import advice

logger = logging.getLogger(__name__)

# Without these Celery computes them from the arguments for every message.
_NO_REPRS: dict[str, Any] = {"argsrepr": "()", "kwargsrepr": "{}"}

# Seconds to wait for the broker. Celery and kombu by themselves wait for seconds to minutes, or for ever:
# kombu passes socket_timeout=None to redis-py.
BROKER_TIMEOUT = 1.0

# Seconds until `wake` returns, with every transport. Some transports have no options for timeouts that we
# know: boto3 waits a minute for a silent SQS, and retries.
WAKE_TIMEOUT = 1.2

# Seconds without wake-ups in this process after a failed one. A process that sends many mails in a row waits
# once for a silent broker; the tick wakes a worker for all of them. For as long, a process does not ask a
# Redis that failed whether a wake-up is on its way.
_PAUSE = 5.0

# The longest pause: each publish that has not returned doubles the pause.
_LONGEST_PAUSE = 300.0

# Publishes that may hang at once. With more, a process sends no wake-up until a publish returns.
_MOST_STUCK = 32

_publishers = Threads("wake-up", _MOST_STUCK)
_thread = threading.local()
_paused_until = _redis_paused_until = 0.0


class Limits(NamedTuple):
    """Seconds after which a task is interrupted, and after which its process is killed."""

    soft: int
    hard: int

    @classmethod
    def by_settings(cls, soft: Callable[[], int], hard: Callable[[], int]) -> "Limits":
        """The limits of two functions that read settings. Tasks need them at the import of their module.

        No limits if a setting is unusable: the system checks report it, and no worker starts.
        """
        try:
            return cls(soft(), hard())
        except ImproperlyConfigured:
            return cls(0, 0)


class Registered(NamedTuple):
    """The queue and the limits of a task of the apps."""

    queue: str
    limits: Limits


#: By the task's name: all tasks of the apps that are installed.
registered: dict[str, Registered] = {}


def task(
    name: str, *, queue: str, limits: Limits, keeps_result: bool = False, sends_events: bool = True
) -> Callable[[Callable[[], object]], "Task[[], object]"]:
    """A decorator for a task that a wake-up starts: acked when a worker gets it, expired after an hour.

    The options sit on the task, so that they hold in every Celery app that runs the task.
    """
    registered[name] = Registered(queue, limits)

    # The task gets its queue here, for beat and for every other publisher. Celery 5.7 warns of a `queue` in
    # the body of a task class and advises `task_routes` (celery/app/task.py, `Task.bind`). That setting
    # belongs to the app, and the app may be a host project's.
    def set_queue(task_class: Any, _app: Celery) -> None:
        task_class.queue = queue

    hooks: dict[str, Any] = {"on_bound": classmethod(set_queue)}  # celery-types does not list it
    return shared_task(
        name=name,
        **hooks,
        soft_time_limit=limits.soft,
        time_limit=limits.hard,
        acks_late=False,
        ignore_result=not keeps_result,
        send_events=sends_events,
        # The clocks of sender and worker may differ: with an expiry of a minute, a worker whose clock is a
        # minute ahead would discard every wake-up.
        expires=3600,
        max_retries=0,
    )


def wake_once(task: "Task[[], object]") -> bool:
    """Wake a worker, unless a wake-up for the task is not yet acknowledged. Never raises.

    False when the broker did not take the wake-up.

    Commit the work before calling this. The worker looks for work after `acknowledge()`, or when its
    suppression ends. A lost wake-up suppresses others for 2 seconds. Redis keeps the flag; while it is
    unavailable, every call sends a wake-up.
    """
    sent = _ask_redis(task, lambda server, flag: not server.set(flag, 1, nx=True, px=redis.WAKE_UP_LIFETIME))
    if sent or wake(task):
        return True
    acknowledge(task)  # another process may have a broker that answers
    return False


def suppress(task: "Task[[], object]", seconds: float) -> None:
    """Suppress wake-ups for some seconds. The caller looks for work after that."""
    _ask_redis(task, lambda server, flag: server.set(flag, 1, px=int(seconds * 1000)))


def acknowledge(task: "Task[[], object]") -> None:
    """Call before a look for work: work that comes later needs a new wake-up."""
    _ask_redis(task, lambda server, flag: server.delete(flag))


def _ask_redis(task: "Task[[], object]", question: Callable[[Redis, str], object]) -> object:
    """The answer of Redis about the task's flag; None after a failure and for some seconds."""
    global _redis_paused_until  # noqa: PLW0603 (one process, one Redis)
    if is_eager() or not _may_ask_redis():
        return None
    try:
        return question(redis.for_wake_ups(), redis.key(f"wakeup:{task.name}"))
    except (RedisError, ImproperlyConfigured):
        _redis_paused_until = time.monotonic() + _PAUSE
        return None


def _may_ask_redis() -> bool:
    return time.monotonic() >= _redis_paused_until


def wake(task: "Task[[], object]") -> bool:
    """Send `task` to a worker. False when the broker did not take it within about a second.

    Raises only the caller's SoftTimeLimitExceeded.
    """
    global _paused_until  # noqa: PLW0603 (one process, one broker)
    if is_eager():
        return True
    if time.monotonic() < _paused_until:
        _count_failure()
        return False
    stuck = _publishers.late  # read first: threads that fail at the same time raise the backoff once
    try:
        if task.app.conf.task_always_eager:  # the task runs in this thread, which has the transaction
            _publish(task)
        else:
            _publishers.run(lambda: _publish(task), WAKE_TIMEOUT)
    except SoftTimeLimitExceeded:  # the task that calls this must end
        raise
    except Exception as error:  # noqa: BLE001 (each transport has errors of its own)
        is_late = isinstance(error, DeadlineExceeded)
        _paused_until = time.monotonic() + exponential(_PAUSE, stuck + is_late + 1, _LONGEST_PAUSE)
        # Without the error's own text, which may have the broker's address with the password.
        why = "no answer" if is_late else advice(error) or type(error).__name__
        logger.warning("Could not wake a worker for %s (%s); the next tick retries.", task.name, why)
        _count_failure()
        return False
    return True


def _publish(task: "Task[[], object]") -> None:
    # The header tells the worker whether to keep the result. This call ignores the result itself: with
    # results in Redis, Celery would first subscribe to the result, and wait for that Redis.
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
        # Not close(), which waits for an answer of the broker that has just failed.
        connection = getattr(_thread, "connection", None)
        _thread.__dict__.clear()
        if connection is not None:
            connection.collect(socket_timeout=BROKER_TIMEOUT)
        raise


def _count_failure() -> None:
    # A sender of a mail waits for a silent Redis only once.
    if _may_ask_redis():
        count(counters.WAKE_UPS_FAILED)


def _producer(app: Celery) -> Producer:
    # An own connection for each thread: the app's connection may be set to wait for its broker, and in a host
    # project we must not change that.
    if getattr(_thread, "owner", None) != (app, os.getpid()):
        # The parent of a fork closes the connection that the fork inherited.
        _thread.__dict__.clear()
        connection = connect(app)
        _thread.producer = Producer(connection, auto_declare=False)
        _thread.owner, _thread.connection = (app, os.getpid()), connection
    producer: Producer = _thread.producer
    return producer


def connect(app: Celery) -> Connection:
    """A connection to the app's broker that waits for about a second, where its transport has timeouts."""
    timeouts = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
    # kombu ignores options that the transport does not know.
    options: dict[str, Any] = {"max_retries": 0, "retry_on_timeout": False, **timeouts}
    if sentinels := app.conf.broker_transport_options.get("sentinel_kwargs"):
        options["sentinel_kwargs"] = {**sentinels, **timeouts}
    return app.connection_for_write(connect_timeout=BROKER_TIMEOUT, transport_options=options)
