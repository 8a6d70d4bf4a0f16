"""A watchdog over the main loop of a Celery worker: a stuck worker ends itself.

A worker is stuck after `PATIENCE` seconds of either fault:

- The main loop has not turned.
- Messages wait in a queue of ours, the worker consumes the queue, and the worker has received no message.

The watchdog is a thread of the worker's main process, so the watchdog also works while the main thread waits
in C, such as in recv(). While the main thread holds the GIL in C, no Python thread runs, and the watchdog
cannot end the worker.

The thread counts rounds instead of seconds: a frozen worker (SIGSTOP, a suspended machine) was not stuck
meanwhile. The count starts anew in these cases:

- A task runs in a process or thread of the pool, ours or the host project's.
- The broker does not answer the watchdog: the worker is reconnecting, or will reconnect.
- The worker consumes no queue of ours, or the loop has not turned since the start of the worker.
"""

import logging
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from mmap import mmap
from typing import Any

import billiard
from celery.bootsteps import CLOSE, TERMINATE  # type: ignore[attr-defined]  # not in the stubs
from celery.signals import (
    task_postrun,
    task_prerun,
    task_received,
    worker_init,
    worker_process_init,
    worker_ready,
)

from events_app.conf import WORKER_WATCHDOG
from events_app.shared import wakeup
from events_app.worker.time_limits import pool_index

logger = logging.getLogger(__name__)

#: Seconds of a fault after which the worker ends.
PATIENCE = 60.0

#: Rounds of the watchdog in `PATIENCE` seconds.
ROUNDS = 12

#: Rounds of a fault after which each round asks the broker for waiting messages.
_ROUNDS_UNASKED = 2

#: Seconds for the broker's answer.
_BROKER_TIMEOUT = 2.0

#: The exit status of a stuck worker. Not 0: some supervisors restart only failed processes.
EXIT_STATUS = os.EX_SOFTWARE

#: The report of a prefork child to the main process: the pid, and the number of running tasks.
_REPORT = struct.Struct("ii")

#: Number of children that can report. The watchdog takes any further child for busy.
_MOST_CHILDREN = 4096

_tasks: set[str] = set()
_received = 0
_reports: mmap | None = None


def watch_workers() -> None:
    """Watch the workers, unless `WORKER_WATCHDOG` is "off"."""
    uid = "events_app.worker.watchdog"
    worker_init.connect(_prepare, dispatch_uid=uid)
    worker_process_init.connect(_report, dispatch_uid=uid)
    task_received.connect(_on_received, dispatch_uid=uid)
    task_prerun.connect(_on_begin, dispatch_uid=uid)
    task_postrun.connect(_on_end, dispatch_uid=uid)
    worker_ready.connect(_watch, dispatch_uid=uid)


def _prepare(**_: Any) -> None:
    """Make memory for the children's reports, before the pool forks children."""
    global _reports  # noqa: PLW0603 (one process, one pool)
    if WORKER_WATCHDOG.get() != "off":
        _reports = mmap(-1, _REPORT.size * _MOST_CHILDREN)


def _watch(sender: Any, **_: Any) -> None:
    if _reports is not None:
        Watchdog(sender, ends=WORKER_WATCHDOG.get() == "exit").start()


def _on_received(**_: Any) -> None:
    global _received  # noqa: PLW0603 (one process, one consumer)
    _received += 1


def _on_begin(task_id: str, **_: Any) -> None:
    _tasks.add(task_id)
    _report()


def _on_end(task_id: str, **_: Any) -> None:
    _tasks.discard(task_id)
    _report()


def _report(**_: Any) -> None:
    index = pool_index()
    if index is not None and _reports is not None and index < _MOST_CHILDREN:
        _REPORT.pack_into(_reports, index * _REPORT.size, os.getpid(), len(_tasks))


class Watchdog(threading.Thread):
    """Watches a consumer. Without `ends`, only logs an error every `PATIENCE` seconds."""

    def __init__(self, consumer: Any, *, ends: bool) -> None:
        super().__init__(name="sendgrid-watchdog", daemon=True)
        # Celery's Consumer. Only a worker needs to import the module of the class.
        self._consumer = consumer
        self._state = consumer.controller.state
        self._ends = ends
        self._turned = threading.Event()
        self._has_turned_once = False
        self._seen = 0
        self._stuck = self._unfed = 0
        #: Rounds since the last turn of the loop.
        self._unturned = 0

    def run(self) -> None:
        self._ask_for_a_turn()
        while not self._is_stopping():
            time.sleep(PATIENCE / ROUNDS)
            try:
                self.look()
            except Exception:
                # A bug of this module must not end the worker.
                logger.exception("The watchdog failed and goes on")
                self._start_anew()

    def _is_stopping(self) -> bool:
        orders = (self._state.should_stop, self._state.should_terminate)
        return (
            self._consumer.blueprint.state in (CLOSE, TERMINATE)
            # An exit status may be 0.
            or any(order is not None and order is not False for order in orders)
        )

    def look(self) -> None:
        """Do a round."""
        turned = self._turned.is_set()
        self._has_turned_once |= turned
        self._unturned = 0 if turned else self._unturned + 1
        # Ask again, in case the hub lost the callback: after a callback that raises, such as the ack on a
        # broken connection, the hub drops the remaining callbacks (kombu/asynchronous/hub.py, `create_loop`).
        if turned or self._unturned % ROUNDS == _ROUNDS_UNASKED:
            self._ask_for_a_turn()
        ours = {task.queue for task in wakeup.registered.values()}
        queues = [name for name in list(self._consumer.app.amqp.queues.consume_from) if name in ours]
        if self._runs_a_task() or not queues or not self._has_turned_once:
            self._start_anew()
            return
        self._stuck = 0 if turned else self._stuck + 1
        self._unfed = 0 if _received != self._seen or self._holds_back() else self._unfed + 1
        self._seen = _received
        if max(self._stuck, self._unfed) >= _ROUNDS_UNASKED:
            self._judge(queues)

    def _holds_back(self) -> bool:
        """Whether the host's rate limits, or `worker_eta_task_limit`, stop the consumer from receiving."""
        # Celery has no qos before it first consumes.
        qos = self._consumer.qos
        if qos and qos.max_prefetch is not None and qos.value >= qos.max_prefetch:
            return True
        return any(bucket and bucket.contents for bucket in list(self._consumer.task_buckets.values()))

    def _judge(self, queues: Iterable[str]) -> None:
        try:
            waiting = self._waiting(queues)
        except Exception as error:  # noqa: BLE001 (each transport has errors of its own)
            logger.debug("The watchdog got no answer from the broker: %s", type(error).__name__)
            self._start_anew()
            return
        if not waiting:
            self._unfed = 0
        if self._stuck >= ROUNDS:
            frame = sys._current_frames().get(threading.main_thread().ident or 0)
            where = "unknown"
            if frame:
                where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            if not self._runs_a_task() and not self._turned.is_set():
                self._end(f"the main loop has not turned for {PATIENCE:g} s (it is at {where})")
            self._start_anew()
        elif self._unfed >= ROUNDS:
            # In the main loop: no message can arrive between the last check and the end.
            self._consumer.call_soon(self._end_unfed, waiting, self._seen)
            self._unfed = 0

    def _end_unfed(self, waiting: list[str], seen: int) -> None:
        if seen == _received and not self._runs_a_task():
            queues = ", ".join(waiting)
            self._end(f"messages wait in {queues}, and it has received none for {PATIENCE:g} s")

    def _end(self, why: str) -> None:
        if not self._ends:
            logger.error('This worker is stuck: %s. It goes on, because WORKER_WATCHDOG is "log".', why)
            return
        # In a separate thread: the main thread may be stuck in a log handler, with the handler's lock.
        last_words = threading.Thread(target=_log_exit, args=(why,), daemon=True)
        last_words.start()
        last_words.join(5)
        if self._runs_a_task():  # the loop has recovered
            logger.warning("This worker goes on: a task has begun.")
            return
        # The children of the pool, and an embedded beat. No child runs a task.
        for pid in [child.pid for child in billiard.active_children() if child.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(EXIT_STATUS)

    def _start_anew(self) -> None:
        self._stuck = self._unfed = 0

    def _ask_for_a_turn(self) -> None:
        self._turned.clear()
        # Both of Celery's loops call the callback in the next turn (celery/worker/loops.py).
        self._consumer.call_soon(self._turned.set)

    def _runs_a_task(self) -> bool:
        pool = self._consumer.pool
        # By name: only a worker imports the module. A host's own pool may derive from Celery's.
        if any(parent.__module__ == "celery.concurrency.prefork" for parent in type(pool).__mro__):
            # Not Celery's own list: a stuck main loop misses the end of a task, and forgets running tasks
            # when the broker's connection breaks (`AsynPool.flush`).
            return any(map(_is_busy, list(getattr(pool._pool, "_pool", ()))))
        # A third party's pool may run tasks without Celery's signals.
        return bool(_tasks or self._state.active_requests)

    def _waiting(self, queues: Iterable[str]) -> list[str]:
        """The queues with waiting messages. Raises the errors of the broker's transport."""
        connection = self._consumer.app.connection_for_read(
            connect_timeout=_BROKER_TIMEOUT,
            # A transport ignores unknown options: redis reads the first four, amqp the last two.
            transport_options={
                "max_retries": 0,
                "retry_on_timeout": False,
                "socket_timeout": _BROKER_TIMEOUT,
                "socket_connect_timeout": _BROKER_TIMEOUT,
                "read_timeout": _BROKER_TIMEOUT,
                "write_timeout": _BROKER_TIMEOUT,
            },
        )
        try:
            connection.connect()
            return [name for name in queues if _length(connection, name)]
        finally:
            connection.collect(socket_timeout=_BROKER_TIMEOUT)


def _length(connection: Any, queue: str) -> int:
    # A channel for each queue: amqp closes the channel if the queue is not found.
    channel = connection.channel()
    try:
        length: int = channel.queue_declare(queue=queue, passive=True).message_count
    except connection.channel_errors as error:
        if str(getattr(error, "reply_code", "")) != "404":  # text in kombu, a number in amqp
            raise
        return 0  # on Redis an empty queue does not exist (kombu/transport/virtual/base.py)
    channel.close()
    return length


def _is_busy(child: Any) -> bool:
    """Whether a child of a prefork pool runs a task. A child without a report counts as busy."""
    if _reports is None or child.index >= _MOST_CHILDREN:
        return True
    pid, tasks = _REPORT.unpack_from(_reports, child.index * _REPORT.size)
    if pid == child.pid and not tasks:
        return False
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return True
    try:
        # Whether the child still runs. An ended child is left for billiard to reap.
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _log_exit(why: str) -> None:
    logger.critical("This worker ends itself, so that a supervisor restarts it: %s.", why)
    logging.shutdown()
