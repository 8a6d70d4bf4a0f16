"""Receivers under test; WITNESS_RECEIVERS says which are connected, and in what order."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.db.models import F

from events_app.signals import InboundEvent, TrackingEvent
from sending_app.message import SendStatus
from tests.flows.witness import deeds
from tests.flows.witness.book import Book, Call, Letter
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


def reader(event: InboundEvent, attempt: int, replay: bool, **_: Any) -> None:
    message = event.message
    _BOOK.note(Call("reader", message.message_id or "", attempt, replay))
    _BOOK.copy(
        Letter(
            message.message_id or "",
            message.subject or "",
            message.text or "",
            message.envelope_recipients,
            {file.get_filename(""): _digest(file.get_content_bytes()) for file in message.attachments},
            event.answers,
            event.repeat_of,
        )
    )


def clerk(event: InboundEvent, attempt: int, replay: bool, **_: Any) -> None:
    """Does what is ordered for the mail, by its Message-ID."""
    message_id = event.message.message_id or ""
    _BOOK.note(Call("clerk", message_id, attempt, replay))
    ordered = _BOOK.ordered(message_id, attempt)
    if ordered:
        getattr(deeds, ordered)(lambda: _BOOK.ordered(message_id, attempt) == ordered)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def post_send(status: SendStatus, **_: Any) -> None:
    _BOOK.note(Call("post_send", str(status.message_id), 1, False))


def send_failed(status: SendStatus, **_: Any) -> None:
    _BOOK.note(Call("send_failed", str(status.message_id), 1, False))
