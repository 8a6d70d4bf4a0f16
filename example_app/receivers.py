"""Examples of receivers for events and inbound mail."""

from typing import Any

from django.dispatch import receiver

from events_app.signals import EventType, InboundEvent, TrackingEvent, inbound, tracking
from example_app.models import Bounce, Call, Click, Reply


@receiver(tracking)
def note_bounce(event: TrackingEvent, **_: Any) -> None:
    if event.event_type == EventType.BOUNCED:
        Bounce.objects.create(recipient=event.recipient or "", reason=event.reject_reason or "")


@receiver(tracking)
def note_click(event: TrackingEvent, **_: Any) -> None:
    if event.event_type == EventType.CLICKED:
        Click.objects.create(url=event.click_url or "")


@receiver(inbound)
def note_reply(event: InboundEvent, **_: Any) -> None:
    if event.answers and not event.duplicate_of:
        text = event.message.stripped_text or ""
        Reply.objects.create(answers=event.answers, sender=str(event.message.from_email), text=text)


@receiver(tracking)
def note_call(event: TrackingEvent, **_: Any) -> None:
    """Store a row for each call, so that the demo can check that each event came exactly once.

    A real app does not need this.
    """
    Call.objects.create(event_type=event.event_type)
