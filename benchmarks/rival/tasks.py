"""The rival's task for each event. It inserts the event unless it is a duplicate."""

from typing import Any

from benchmarks.rival.celery import app
from benchmarks.rival.models import ReceivedEvent


@app.task
def keep(event_id: str, fields: dict[str, Any]) -> None:
    ReceivedEvent.objects.get_or_create(event_id=event_id, defaults=fields)
