"""The heartbeats of a Celery worker, with the queues of the worker.

A thread of the worker's main process does so: in the pool "solo" a task occupies the main loop. The thread
falls silent when the main loop has not turned for longer than our longest task may run, so a stuck worker
does not look alive for ever.
"""

import threading
import time
import uuid
from typing import Any

import redis
from celery.bootsteps import CLOSE, TERMINATE  # type: ignore[attr-defined]  # not in the stubs
from celery.signals import worker_ready, worker_shutdown
from django.core.exceptions import ImproperlyConfigured

from events_app.shared import heartbeats, wakeup
from events_app.shared.log.floods import limited_logger
from events_app.shared.redis_faults import describe

logger = limited_logger(__name__)

#: Seconds without a turn of the main loop after which a worker counts as stuck, at least.
PATIENCE = 300


def send_heartbeats() -> None:
    """Make every worker send heartbeats, in any Celery app."""
    worker_ready.connect(_start, dispatch_uid="events_app.worker.heartbeat")


def _start(sender: Any, **_: Any) -> None:
    heart = Heart(sender)
    heart.start()
    # A strong reference: the thread ends only now.
    worker_shutdown.connect(heart.stop, weak=False, dispatch_uid="events_app.worker.heartbeat")


class Heart(threading.Thread):
    """Sends the heartbeats of a worker until the worker stops."""

    def __init__(self, consumer: Any) -> None:
        super().__init__(name="sendgrid-heartbeat", daemon=True)
        # Celery's Consumer. Only a worker needs to import the module of the class.
        self._consumer = consumer
        self._id = uuid.uuid4().hex
        self._stopped = threading.Event()
        #: Held during a heartbeat: none may come after the removal.
        self._sending = threading.Lock()
        self._turned = time.monotonic()

    def run(self) -> None:
        while not self._is_stopping():
            self.beat()
            self._stopped.wait(heartbeats.INTERVAL)
        self._remove()  # a warm shutdown may wait for a task, and no message is taken any more

    def beat(self) -> None:
        """Send a heartbeat, unless the main loop is stuck."""
        # Both of Celery's loops call the callback in the next turn (celery/worker/loops.py). Each time anew:
        # after one that raises, the hub drops the remaining ones (kombu/asynchronous/hub.py, `create_loop`).
        self._consumer.call_soon(self._turn)
        if time.monotonic() - self._turned > _longest_turn():
            return
        with self._sending:
            if not self._stopped.is_set():
                self._quietly(lambda: heartbeats.record_heartbeat(self._id, self._worker()))

    def stop(self, **_: Any) -> None:
        """End, and remove the worker from Redis."""
        self._stopped.set()
        self._remove()

    def _worker(self) -> heartbeats.Worker:
        queues = tuple(self._consumer.app.amqp.queues.consume_from)
        return heartbeats.Worker(self._consumer.hostname, queues, self._consumer.pool.num_processes)

    def _remove(self) -> None:
        with self._sending:
            self._quietly(lambda: heartbeats.remove(self._id))

    def _quietly(self, ask: Any) -> None:
        try:
            ask()
        except (redis.ConnectionError, redis.TimeoutError, ImproperlyConfigured) as error:
            # A worker's tasks report a Redis that is away.
            logger.debug("No heartbeat: %s", type(error).__name__)
        except redis.RedisError as error:  # such as an ACL that forbids a command
            logger.warning("This worker looks as if it were gone: no heartbeat, as %s", describe(error))
        except Exception:
            # A bug of this module must not end the heartbeats.
            logger.exception("A heartbeat failed; the next one comes")

    def _turn(self) -> None:
        self._turned = time.monotonic()

    def _is_stopping(self) -> bool:
        state = self._consumer.controller.state
        orders = (state.should_stop, state.should_terminate)
        return (
            self._stopped.is_set()
            or self._consumer.blueprint.state in (CLOSE, TERMINATE)
            # An exit status may be 0.
            or any(order is not None and order is not False for order in orders)
        )


def _longest_turn() -> float:
    return max(PATIENCE, *(task.limits.hard for task in wakeup.registered.values()))
