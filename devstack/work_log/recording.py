"""Records finished tasks and receiver calls in files. Files survive a killed process and need no server."""

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


@receiver(tracking, dispatch_uid="work_log")
def record_receiver_call(event: TrackingEvent, **_: Any) -> None:
    record(RECEIVER_CALLS, event.event_id or "")


def record(name: str, line: str) -> None:
    # Several processes append to the file; one write keeps each line whole.
    file = os.open(_folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)
