"""Receivers of tracking events, as a deployer would write them."""

from typing import Any

from django.dispatch import receiver

from events_app.signals import EventType, TrackingEvent, tracking
from example_app.models import Bounce, Call, Click


@receiver(tracking)
def note_bounce(event: TrackingEvent, **_: Any) -> None:
    if event.event_type == EventType.BOUNCED:
        Bounce.objects.create(recipient=event.recipient or "", reason=event.reject_reason or "")


@receiver(tracking)
def note_click(event: TrackingEvent, **_: Any) -> None:
    if event.event_type == EventType.CLICKED:
        Click.objects.create(url=event.click_url or "")


@receiver(tracking)
def note_call(event: TrackingEvent, **_: Any) -> None:
    """Not for imitation: it lets the demo count that each event came exactly once."""
    Call.objects.create(event_type=event.event_type)
