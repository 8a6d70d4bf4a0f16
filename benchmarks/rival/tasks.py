"""The task for each event: SendGrid repeats events, so it inserts what is not there yet."""

from typing import Any

from benchmarks.rival.celery import app
from benchmarks.rival.models import ReceivedEvent


@app.task
def keep(event_id: str, fields: dict[str, Any]) -> None:
    ReceivedEvent.objects.get_or_create(event_id=event_id, defaults=fields)
