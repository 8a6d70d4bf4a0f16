"""A receiver that fails once with each bounce, and with one customer as long as a file exists."""

import os
from pathlib import Path
from typing import Any

from django.dispatch import receiver

from events_app.signals import EventType, TrackingEvent, tracking

CUSTOMER = "vip@example.com"

_closed = Path(os.environ["CRM_CLOSED_FILE"])


@receiver(tracking, dispatch_uid="crm")
def tell_crm(event: TrackingEvent, attempt: int, **_: Any) -> None:
    if event.recipient == CUSTOMER and _closed.exists():
        raise ConnectionError("the customer database is closed")
    if event.event_type == EventType.BOUNCED and attempt == 1:
        raise TimeoutError("the customer database does not answer")
