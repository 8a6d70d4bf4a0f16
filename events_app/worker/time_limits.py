"""Time limits that a prefork child keeps itself.

Celery keeps the soft and the hard limit of a running task in the timer of the worker's main loop, and
drops them when the broker's connection breaks: `asynloop` (celery/worker/loops.py, 5.6.3) clears that timer.
Leases rest on the hard limit, so each child also keeps both limits of our tasks, `LATER` than Celery: while
the main process does its part, Celery interrupts and kills first.

The soft limit is Celery's own signal, SIGUSR1, from a thread of the child. The hard limit is
`faulthandler.dump_traceback_later`, whose thread needs no GIL: it writes the stack of each thread to standard
error and ends the process, whatever the main thread does. A receiver that calls `dump_traceback_later` itself
takes the hard limit away. SIGALRM stays free for receivers.

Threads and solo have no child to end: a hanging receiver is never interrupted there.
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
from events_app.shared.wakeup import Limits

#: Seconds after Celery's limit. Celery's time runs from the main process's reading of the child's "accepted",
#: a moment after the child's own start.
LATER = 2

#: Seconds between two looks of a child's thread at the soft limit. A timer for each task would cost ten times
#: as much as a look each second.
EACH = 1.0

#: Standard error, as the C library knows it: Celery replaces `sys.stderr` with a logger.
_STDERR = 2


def install() -> None:
    """Keep the limits of the tasks made by `wakeup.task`, in whatever Celery app runs them."""
    task_prerun.connect(_begin, dispatch_uid="events_app.worker.time_limits")
    task_postrun.connect(_end, dispatch_uid="events_app.worker.time_limits")


def pool_index() -> int | None:
    """The number of this prefork child, from billiard; None in any other process."""
    index: int | None = getattr(current_process(), "index", None)
    return index


@dataclass
class _Running:
    """The task of ours that this child runs now."""

    #: By `time.monotonic`.
    soft_limit: float
    #: Whether a soft limit, Celery's or this module's, has interrupted the task.
    interrupted: bool = False


@dataclass
class _Child:
    running: _Running | None = None
    #: Held while a signal is on its way, so that `_end` cannot overtake the signal.
    sending: threading.Lock = field(default_factory=threading.Lock)
    #: billiard's handler, which raises SoftTimeLimitExceeded.
    raise_soft_limit: Any = None
    thread: threading.Thread | None = None


_child = _Child()


def _begin(task: "Task[..., object]", **_: Any) -> None:
    if task.request.is_eager or pool_index() is None:
        return
    _end(task)  # a soft limit may have struck just before the last task's `_end`
    ours = wakeup.registered.get(task.name)
    if ours:
        _keep(ours.limits)


def _keep(limits: Limits) -> None:
    # Here, and not when the child starts: billiard sets its handler after Celery's worker_process_init
    # (Worker.after_fork in billiard/pool.py).
    handler = signal.getsignal(signal.SIGUSR1)
    if handler is not _on_soft_limit:
        _child.raise_soft_limit = handler
        signal.signal(signal.SIGUSR1, _on_soft_limit)
    _child.running = _Running(time.monotonic() + limits.soft + LATER)
    if _child.thread is None:
        _child.thread = threading.Thread(target=_watch, name="sendgrid-time-limits", daemon=True)
        _child.thread.start()
    faulthandler.dump_traceback_later(limits.hard + LATER, exit=True, file=_STDERR)


def _end(task: "Task[..., object]", **_: Any) -> None:
    running = _child.running
    if running is None or task.request.is_eager:
        return
    _child.running = None
    try:
        # Wait for a signal that is on its way, then have its handler called here: the task is over.
        with suppress(SoftTimeLimitExceeded), _child.sending:
            signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        faulthandler.cancel_dump_traceback_later()


def _watch() -> None:
    while True:
        time.sleep(EACH)
        _interrupt_when_over()


def _interrupt_when_over() -> None:
    """Send the soft limit, as billiard's parent process does."""
    with _child.sending:
        running = _child.running
        if running and not running.interrupted and time.monotonic() >= running.soft_limit:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def _on_soft_limit(number: int, frame: FrameType | None) -> None:
    """Interrupt a task once, whoever asks first: a second time would strike a receiver's clean-up."""
    running = _child.running
    if running:
        if running.interrupted:
            return
        running.interrupted = True
    _child.raise_soft_limit(number, frame)
