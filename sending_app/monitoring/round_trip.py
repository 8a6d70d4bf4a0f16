"""The probe of mail: a real mail by the default mailer, followed until its first event has come back."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import DatabaseError, InterfaceError

from events_app.shared.facts import Level, Reading, declare
from events_app.shared.redis_faults import describe
from events_app.signals import EventType
from sending_app import timeline
from sending_app.exceptions import MailError
from sending_app.models import Mail
from sending_app.timeline import Moment

STEP = declare("mail_probe_seconds", "Seconds until a step of the probe was seen", labels=("step",))

SUBJECT = "Test mail of manage.py doctor"

_BODY = (
    "manage.py doctor sent this mail to follow it: through the outbox to SendGrid, and its events back "
    "through the webhook. Nobody needs to answer.\n"
)

#: Seconds between two looks.
_PAUSE = 0.25

#: The steps before the first event, by the names of `timeline`, with the sentence for each.
_STEPS = {
    "created": "The mail is committed to the outbox",
    "posted": "A worker has taken the mail",
    "accepted": "SendGrid has accepted the mail",
}

#: What to do when the mail stands still after a step.
_AFTER = {
    "created": "Does a worker run with the queue sendgrid.mail, on the same database and broker? The lines "
    "above tell. The mail stays in the outbox until a worker takes it.",
    "posted": "`manage.py outbox status` tells whether the account is paused, and why.",
    "accepted": "SendGrid posts events after 30 seconds and more: try a longer --wait. Is the Event Webhook "
    "on, with the address of this project, and with the events Processed and Delivered? Does a worker run "
    "with the queue sendgrid.events?",
}

#: States in which no worker goes on by itself.
_ENDS = {state.value for state in (Mail.State.FAILED, Mail.State.PARKED, Mail.State.CANCELLED)}

# A state of a mail and a type of an event have the name "failed".
_EVENTS = {kind.value for kind in EventType} - _ENDS


def follow(address: str, seconds: int, show_progress: Callable[[str], object]) -> Iterator[Reading]:
    """Send a mail to the address, and follow it for so many seconds (`mail_probe.Probe`)."""
    for reading in _follow(address, seconds, show_progress):
        yield reading._replace(subject="Round trip of a mail")


def _follow(address: str, seconds: int, show_progress: Callable[[str], object]) -> Iterator[Reading]:
    started = time.monotonic()
    message: Any = EmailMessage(SUBJECT, _BODY, to=[address])
    message.tags = ["doctor"]
    try:
        message.send()
    except (MailError, ImproperlyConfigured, DatabaseError, InterfaceError, OSError) as error:
        text = f"send() raises {describe(error)}"
        yield _fault("created", text, "Mend this first: until then send() raises.")
        return
    message_id = getattr(getattr(message, "anymail_status", None), "message_id", None)
    if message_id is None:
        yield _fault(
            "created",
            "The mail cannot be followed: its backend gave it no id.",
            "The default mailer needs a backend of sending_app, and SENDGRID_GENERATE_MESSAGE_ID must be on.",
        )
        return
    seen: list[str] = []
    while True:
        moments = timeline.of(message_id)
        waited = time.monotonic() - started
        steps = {moment.what for moment in moments}
        # A mail of the direct backend is not in the outbox: SendGrid has accepted it when send() returns.
        for step in _STEPS if "created" in steps else ("accepted",):
            if step not in seen and (step in steps or "created" not in steps):
                seen.append(step)
                yield STEP.read(round(waited, 1), step, text=f"{_STEPS[step]} ({waited:.1f} s).")
        if events := [moment for moment in moments if moment.what in _EVENTS]:
            yield _event(events, waited)
            return
        if ends := [moment for moment in moments if moment.what in _ENDS]:
            verb = "has" if ends[-1].what == Mail.State.FAILED else "was"
            yield _fault("accepted", f"The mail {verb} {ends[-1].what}: {ends[-1].said}", _AFTER["posted"])
            return
        if waited > seconds:
            yield _still(seen[-1], moments, seconds)
            return
        show_progress(f"{_STEPS[seen[-1]]}; waiting for the next step ({waited:.0f} of {seconds} s).")
        time.sleep(_PAUSE)


def _event(events: Sequence[Moment], waited: float) -> Reading:
    kinds = ", ".join(dict.fromkeys(moment.what for moment in events))
    text = f"The first events are back: {kinds} ({waited:.1f} s)."
    failed = [moment for moment in events if moment.what in (EventType.BOUNCED, EventType.REJECTED)]
    if not failed:
        return STEP.read(round(waited, 1), "event", text=text)
    return STEP.read(
        round(waited, 1),
        "event",
        level=Level.WARNING,
        text=f"{text} The way works, but the mail was not delivered: {failed[0].said}",
        advice="Try another address. If all addresses bounce, look at the sender's domain.",
    )


def _still(step: str, moments: Sequence[Moment], seconds: int) -> Reading:
    notes = [moment.said for moment in moments if moment.what == "note"]
    why = f" The outbox says: {notes[-1]}" if notes else ""
    text = f"{_STEPS[step]}, and nothing more happened within {seconds} s.{why}"
    return _fault(step, text, _AFTER[step])


def _fault(step: str, text: str, advice: str) -> Reading:
    return STEP.read(None, step, level=Level.ERROR, text=text, advice=advice)
