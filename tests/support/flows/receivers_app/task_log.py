"""Logs the tasks of the apps for flows that wait for them: Celery's own lines about them are left out."""

import logging
from typing import Any

from celery.signals import after_task_publish, task_postrun, task_received

from events_app.shared import wakeup

logger = logging.getLogger("tests.tasks")

_UID = "tests.support.flows.receivers_app.task_log"


def install() -> None:
    task_received.connect(_received, dispatch_uid=_UID)
    task_postrun.connect(_ended, dispatch_uid=_UID)
    after_task_publish.connect(_sent, dispatch_uid=_UID)


def _received(request: Any, **_: Any) -> None:
    if request.name in wakeup.registered:
        logger.info("Task %s[%s] received", request.name, request.id)


def _ended(task: Any, task_id: str, **_: Any) -> None:
    if task.name in wakeup.registered:
        logger.info("Task %s[%s] ended", task.name, task_id)


def _sent(sender: str, **_: Any) -> None:
    if sender.endswith(".tick"):
        logger.info("Tick %s sent", sender)
