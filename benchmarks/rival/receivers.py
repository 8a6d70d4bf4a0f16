"""Three receivers of django-anymail's signal. RIVAL_RECEIVER selects one."""

from typing import Any

from benchmarks.rival.models import ReceivedEvent
from benchmarks.rival.tasks import keep


def nothing(**_: Any) -> None:
    """Do nothing, to measure the view alone."""


def insert(event: Any, **_: Any) -> None:
    ReceivedEvent.objects.create(event_id=event.event_id, **_fields(event))


def delay(event: Any, **_: Any) -> None:
    keep.delay(event.event_id, _fields(event))


def _fields(event: Any) -> dict[str, Any]:
    return {
        "event_type": event.event_type,
        "timestamp": event.timestamp,
        "message_id": event.message_id,
        "recipient": event.recipient,
        "esp_event": event.esp_event,
    }
