"""Receivers under test; FLOW_RECEIVERS names the connected ones, in their order."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.db.models import F

from events_app.signals import InboundEvent, TrackingEvent
from sending_app.message import SendStatus
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.call_log import Call, CallLog, ReceivedMail
from tests.support.flows.receivers_app.models import Total

_CALLS = CallLog(Path(os.environ["FLOW_FOLDER"]))


def first(**told: Any) -> None:
    _note("first", **told)


def second(**told: Any) -> None:
    call = _note("second", **told)
    ordered = _CALLS.ordered(call.event_id, call.attempt)
    if ordered:
        getattr(behaviours, ordered)(lambda: _CALLS.ordered(call.event_id, call.attempt) == ordered)


def third(**told: Any) -> None:
    _note("third", **told)


def counter(**told: Any) -> None:
    call = _note("counter", **told)
    Total.objects.get_or_create(event_id=call.event_id)
    Total.objects.filter(event_id=call.event_id).update(total=F("total") + 1)


def _note(receiver: str, *, event: TrackingEvent, attempt: int, replay: bool, **_: Any) -> Call:
    call = Call(receiver, event.event_id or "", attempt, replay)
    _CALLS.add(call)
    return call


def reader(event: InboundEvent, attempt: int, replay: bool, **_: Any) -> None:
    message = event.message
    _CALLS.add(Call("reader", message.message_id or "", attempt, replay))
    _CALLS.add_mail(
        ReceivedMail(
            message.message_id or "",
            message.subject or "",
            message.text or "",
            message.envelope_recipients,
            {file.get_filename(""): _digest(file.get_content_bytes()) for file in message.attachments},
            event.answers,
            event.duplicate_of,
        )
    )


def clerk(**told: Any) -> None:
    _obey("clerk", **told)


def ticket_clerk(**told: Any) -> None:
    """Connected to the recipients `tickets+*@...` only."""
    _obey("ticket_clerk", **told)


def _obey(receiver: str, *, event: InboundEvent, attempt: int, replay: bool, **_: Any) -> None:
    """Do what is ordered for the mail, by its Message-ID."""
    message_id = event.message.message_id or ""
    _CALLS.add(Call(receiver, message_id, attempt, replay))
    ordered = _CALLS.ordered(message_id, attempt)
    if ordered:
        getattr(behaviours, ordered)(lambda: _CALLS.ordered(message_id, attempt) == ordered)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def post_send(status: SendStatus, **_: Any) -> None:
    _note_status("post_send", status)


def send_failed(status: SendStatus, **_: Any) -> None:
    _note_status("send_failed", status)


def _note_status(receiver: str, status: SendStatus) -> None:
    """Do what is ordered for the recipient."""
    _CALLS.add(Call(receiver, str(status.message_id), 1, False))
    for recipient in status.recipients:
        if ordered := _CALLS.ordered(recipient, 1):
            getattr(behaviours, ordered)(lambda: True)
