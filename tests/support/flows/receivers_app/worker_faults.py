"""Faults of a worker's main loop that a test orders, and the checks of its watchdog."""

import os
import socket
import threading
from pathlib import Path
from typing import Any

from celery.signals import worker_init, worker_ready

from devstack.process import wait_for
from events_app.worker import watchdog
from tests.support.flows.receivers_app.call_log import WatchdogRounds


def install() -> None:
    """Shorten the watchdog's patience to FLOW_WATCHDOG_PATIENCE seconds, where that is set."""
    if "FLOW_WATCHDOG_PATIENCE" in os.environ:
        watchdog.PATIENCE = float(os.environ["FLOW_WATCHDOG_PATIENCE"])
        worker_ready.connect(_obey, dispatch_uid="tests.support.flows.receivers_app.worker_faults")
        _write_down_rounds(WatchdogRounds(_folder()))
    if "FLOW_SYNLOOP" in os.environ:
        worker_init.connect(_use_synloop, dispatch_uid="tests.support.flows.receivers_app.worker_faults")


def _use_synloop(sender: Any, **_: Any) -> None:
    """The loop for transports that have no event loop of their own (celery/worker/loops.py)."""
    sender.use_eventloop = False


def wait_in_recv(_: Any) -> None:
    """The main thread waits in C, for a peer that says nothing."""
    ours, _theirs = socket.socketpair()
    ours.recv(1)


def stop_consuming(consumer: Any) -> None:
    """The broker hands the worker nothing any more, and nothing else tells of that."""
    consumer.task_consumer.cancel()


def _obey(sender: Any, **_: Any) -> None:
    threading.Thread(target=_wait_for_order, args=(sender,), daemon=True).start()


def _wait_for_order(consumer: Any) -> None:
    order = _folder() / "fault"
    fault = wait_for(lambda: order.read_text() if order.exists() else "", seconds=300, what="an order")
    order.unlink()  # the next worker is a sound one
    consumer.call_soon(globals()[fault], consumer)


def _folder() -> Path:
    return Path(os.environ["FLOW_FOLDER"])


def _write_down_rounds(rounds: WatchdogRounds) -> None:
    look = watchdog.Watchdog.look

    def look_and_write(self: watchdog.Watchdog) -> None:
        look(self)
        rounds.add()

    watchdog.Watchdog.look = look_and_write  # type: ignore[method-assign]
