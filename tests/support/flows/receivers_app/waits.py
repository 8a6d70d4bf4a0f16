"""Other waits than a deployment has. A flow that proves no length of a wait need not sit it out."""

import os
from typing import Any

from celery.schedules import schedule
from celery.signals import beat_init

from events_app.dispatch import leases
from events_app.shared import engine, wakeup

_UID = "tests.support.flows.receivers_app.waits"

#: Entries of the schedule that are ticks.
_TICKS = ("events", "mail")


def install() -> None:
    """Take seconds from the environment, if set.

    FLOW_TICK: between two ticks. FLOW_BUDGET: of a task. FLOW_WAKE_TIMEOUT: until a wake-up has failed.
    """
    if "FLOW_TICK" in os.environ:
        engine.INTERVAL = int(os.environ["FLOW_TICK"])
        beat_init.connect(_set_schedule, dispatch_uid=_UID)
    if "FLOW_BUDGET" in os.environ:
        leases.BUDGET = int(os.environ["FLOW_BUDGET"])
    if "FLOW_WAKE_TIMEOUT" in os.environ:
        wakeup.BROKER_TIMEOUT = wakeup.WAKE_TIMEOUT = float(os.environ["FLOW_WAKE_TIMEOUT"])


def _set_schedule(sender: Any, **_: Any) -> None:
    for name in _TICKS:
        sender.scheduler.schedule[name].schedule = schedule(engine.INTERVAL)
