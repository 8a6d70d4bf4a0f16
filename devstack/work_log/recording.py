"""Signs of life and of work, in files: they outlive a process that is killed, and need no server."""

import os
from pathlib import Path
from typing import Any

from celery import Task
from celery.signals import task_postrun
from django.dispatch import receiver

from devstack.work_log import FINISHED_TASKS, RECEIVER_CALLS
from events_app.signals import TrackingEvent, tracking

_folder = Path(os.environ["WORK_LOG_FOLDER"])


@task_postrun.connect(dispatch_uid="devstack.work_log")
def record_finished_task(task: "Task[Any, Any]", **_: Any) -> None:
    record(FINISHED_TASKS, f"{task.request.hostname} {task.name}")


@receiver(tracking, dispatch_uid="pulse")
def record_receiver_call(event: TrackingEvent, **_: Any) -> None:
    record(RECEIVER_CALLS, event.event_id or "")


def record(name: str, line: str) -> None:
    # One write of a short line: several processes append to the file, and each line stays whole.
    file = os.open(_folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)
