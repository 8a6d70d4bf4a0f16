"""Enforces the time limits of a task inside the prefork child.

Celery keeps the soft and the hard limit of a running task in the timer of the worker's main loop. When the
broker's connection breaks, `asynloop` (celery/worker/loops.py, 5.6.3) clears the timer, and the limits are
lost. Leases rest on the hard limit. So the child also keeps both limits of our tasks, `LATER` seconds after
Celery's: as long as the main process works, Celery interrupts and kills first.

At the soft limit a thread of the child sends Celery's own signal, SIGUSR1. The hard limit is
`faulthandler.dump_traceback_later`: its thread needs no GIL, writes the stacks of all threads to standard
error and ends the process, even if the main thread hangs. A receiver that calls `dump_traceback_later`
removes the hard limit. SIGALRM stays free for receivers.

The pools "threads" and "solo" have no child process: a hanging receiver is never interrupted in such a pool.
"""

import faulthandler
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from billiard.process import current_process
from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_postrun, task_prerun

from events_app.shared import wakeup

#: Seconds after Celery's limit. Celery starts to count when the main process reads the child's "accepted", a
#: moment after the child's own start.
LATER = 2

#: Seconds between two checks of the soft limit. A timer for each task would cost ten times as much as a check
#: each second.
EACH = 1.0

#: The file descriptor of standard error: Celery replaces `sys.stderr` with a logger.
_STDERR = 2


def enforce_time_limits() -> None:
    """Enforce the limits of the tasks made by `wakeup.task`, in any Celery app."""
    task_prerun.connect(_begin, dispatch_uid="events_app.worker.time_limits")
    task_postrun.connect(_end, dispatch_uid="events_app.worker.time_limits")


def pool_index() -> int | None:
    """The number of the current prefork child, from billiard; None outside a prefork child."""
    index: int | None = getattr(current_process(), "index", None)
    return index


@dataclass
class _Running:
    """The running task of ours in the child."""

    #: By `time.monotonic`.
    soft_limit: float
    #: Whether the soft limit of Celery or of this module has interrupted the task.
    interrupted: bool = False


@dataclass
class _Child:
    running: _Running | None = None
    #: Held while a signal is sent, so that `_end` cannot overtake the signal.
    sending: threading.Lock = field(default_factory=threading.Lock)
    #: billiard's handler, which raises SoftTimeLimitExceeded.
    raise_soft_limit: Any = None
    thread: threading.Thread | None = None


_child = _Child()


def _begin(task: "Task[..., object]", **_: Any) -> None:
    if task.request.is_eager or pool_index() is None:
        return
    _end(task)  # a soft limit may have interrupted the last task just before its `_end`
    ours = wakeup.registered.get(task.name)
    if ours is None:
        return
    # Not at the start of the child: billiard sets its handler after Celery's worker_process_init
    # (Worker.after_fork in billiard/pool.py).
    handler = signal.getsignal(signal.SIGUSR1)
    if handler is not _on_soft_limit:
        _child.raise_soft_limit = handler
        signal.signal(signal.SIGUSR1, _on_soft_limit)
    _child.running = _Running(time.monotonic() + ours.limits.soft + LATER)
    if _child.thread is None:
        _child.thread = threading.Thread(target=_watch, name="sendgrid-time-limits", daemon=True)
        _child.thread.start()
    faulthandler.dump_traceback_later(ours.limits.hard + LATER, exit=True, file=_STDERR)


def _end(task: "Task[..., object]", **_: Any) -> None:
    running = _child.running
    if running is None or task.request.is_eager:
        return
    _child.running = None
    try:
        # Wait for a signal that is being sent, then run its handler here: the task is over.
        with suppress(SoftTimeLimitExceeded), _child.sending:
            signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        faulthandler.cancel_dump_traceback_later()


def _watch() -> None:
    while True:
        time.sleep(EACH)
        _interrupt_when_over()


def _interrupt_when_over() -> None:
    """Send the signal of the soft limit, as billiard's parent process does."""
    with _child.sending:
        running = _child.running
        if running and not running.interrupted and time.monotonic() >= running.soft_limit:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def _on_soft_limit(number: int, frame: FrameType | None) -> None:
    """Interrupt a task only once: a second interruption would hit a receiver's clean-up."""
    running = _child.running
    if running:
        if running.interrupted:
            return
        running.interrupted = True
    _child.raise_soft_limit(number, frame)
