"""The host's receivers, one of each kind."""

from typing import Any

from django.dispatch import receiver

from events_app.signals import TrackingEvent, tracking
from tests.host.shop.models import Heard


@receiver(tracking)
def write(event: TrackingEvent, **_: Any) -> None:
    Heard.objects.create(receiver="sync", event_id=event.event_id)


@receiver(tracking)
async def write_async(event: TrackingEvent, **_: Any) -> None:
    await Heard.objects.acreate(receiver="async", event_id=event.event_id)
