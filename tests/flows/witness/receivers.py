"""Receivers under test; WITNESS_RECEIVERS says which are connected, and in what order."""

import os
from pathlib import Path
from typing import Any

from django.db.models import F

from events_app.signals import TrackingEvent
from sending_app.message import SendStatus
from tests.flows.witness import deeds
from tests.flows.witness.book import Book, Call
from tests.flows.witness.models import Total

_BOOK = Book(Path(os.environ["WITNESS_FOLDER"]))


def first(**told: Any) -> None:
    _note("first", **told)


def second(**told: Any) -> None:
    call = _note("second", **told)
    ordered = _BOOK.ordered(call.event_id, call.attempt)
    if ordered:
        getattr(deeds, ordered)(lambda: _BOOK.ordered(call.event_id, call.attempt) == ordered)


def third(**told: Any) -> None:
    _note("third", **told)


def counter(**told: Any) -> None:
    call = _note("counter", **told)
    Total.objects.get_or_create(event_id=call.event_id)
    Total.objects.filter(event_id=call.event_id).update(total=F("total") + 1)


def _note(receiver: str, *, event: TrackingEvent, attempt: int, replay: bool, **_: Any) -> Call:
    call = Call(receiver, event.event_id or "", attempt, replay)
    _BOOK.note(call)
    return call


def post_send(status: SendStatus, **_: Any) -> None:
    _BOOK.note(Call("post_send", str(status.message_id), 1, False))


def send_failed(status: SendStatus, **_: Any) -> None:
    _BOOK.note(Call("send_failed", str(status.message_id), 1, False))
