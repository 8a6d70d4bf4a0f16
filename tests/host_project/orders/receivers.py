"""Receivers of events and of inbound mail."""

from typing import Any

from accounts.models import User
from django.dispatch import receiver

from events_app.signals import EventType, InboundEvent, TrackingEvent, inbound, tracking
from orders.models import Call, Question


@receiver(tracking)
def stop_mail(event: TrackingEvent, **_: Any) -> None:
    if event.event_type in (EventType.BOUNCED, EventType.COMPLAINED):
        User.objects.filter(email=event.recipient or "").update(gets_mail=False)


@receiver(tracking)
def note(event: TrackingEvent, **_: Any) -> None:
    Call.objects.create(receiver="function", event_id=event.event_id or "")


@receiver(tracking)
async def note_async(event: TrackingEvent, **_: Any) -> None:
    await Call.objects.acreate(receiver="async function", event_id=event.event_id or "")


@receiver(inbound)
def take_question(event: InboundEvent, **_: Any) -> None:
    mail = event.message
    Question.objects.create(sender=mail.envelope_sender or "", text=mail.text or "")
