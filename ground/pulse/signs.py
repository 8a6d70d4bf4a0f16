"""Signs of life and of work, in files: they outlive a process that is killed, and need no server."""

import os
from pathlib import Path
from typing import Any

from celery import Task
from celery.signals import task_postrun
from django.dispatch import receiver

from events_app.signals import TrackingEvent, tracking
from ground.pulse import CALLS, TASKS

_folder = Path(os.environ["PULSE_FOLDER"])


@task_postrun.connect(dispatch_uid="ground.pulse")
def note_task(task: "Task[Any, Any]", **_: Any) -> None:
    note(TASKS, f"{task.request.hostname} {task.name}")


@receiver(tracking, dispatch_uid="pulse")
def note_call(event: TrackingEvent, **_: Any) -> None:
    note(CALLS, event.event_id or "")


def note(name: str, line: str) -> None:
    # One write of a short line: several processes append to the file, and each line stays whole.
    file = os.open(_folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)
