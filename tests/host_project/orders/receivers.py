"""Receivers of events and of inbound mail, of each kind that Django's signals take."""

from collections.abc import Callable
from functools import partial
from typing import Any

from accounts.models import User
from django.dispatch import receiver

from events_app.signals import EventType, InboundEvent, TrackingEvent, inbound, tracking
from orders.models import Call, Question


@receiver(tracking)
def stop_mail(event: TrackingEvent, **_: Any) -> None:
    if event.event_type in (EventType.BOUNCED, EventType.COMPLAINED):
        User.objects.filter(email=event.recipient or "").update(gets_mail=False)


def note(kind: str, *, event: TrackingEvent, **_: Any) -> None:
    Call.objects.create(receiver=kind, event_id=event.event_id or "")


@receiver(tracking)
def note_in_function(event: TrackingEvent, **_: Any) -> None:
    note("function", event=event)


@receiver(tracking)
async def note_in_async_function(event: TrackingEvent, **_: Any) -> None:
    await Call.objects.acreate(receiver="async function", event_id=event.event_id or "")


class Notebook:
    """Its method and its instances are receivers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def write(self, event: TrackingEvent, **_: Any) -> None:
        note(f"{self.kind}'s method", event=event)

    async def write_async(self, event: TrackingEvent, **_: Any) -> None:
        kind = f"{self.kind}'s async method"
        await Call.objects.acreate(receiver=kind, event_id=event.event_id or "")

    def __call__(self, event: TrackingEvent, **_: Any) -> None:
        note(self.kind, event=event)

    @classmethod
    def write_in_class(cls, event: TrackingEvent, **_: Any) -> None:
        note("class method", event=event)

    @staticmethod
    def write_in_static(event: TrackingEvent, **_: Any) -> None:
        note("static method", event=event)


def made(kind: str) -> Callable[..., None]:
    def write(event: TrackingEvent, **_: Any) -> None:
        note(kind, event=event)

    return write


FIRST, SECOND = Notebook("first object"), Notebook("second object")

for connected in (
    *(FIRST, FIRST.write, FIRST.write_async, SECOND, SECOND.write),
    *(Notebook.write_in_class, Notebook.write_in_static),
    *(partial(note, "first partial"), partial(note, "second partial")),
    *(made("first nested function"), made("second nested function")),
):
    tracking.connect(connected, weak=False)
tracking.connect(lambda event, **_: note("first lambda", event=event), weak=False)
tracking.connect(lambda event, **_: note("second lambda", event=event), weak=False)


@receiver(inbound)
def take_question(event: InboundEvent, **_: Any) -> None:
    mail = event.message
    Question.objects.create(sender=mail.envelope_sender or "", text=mail.text or "")
