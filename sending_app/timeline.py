"""What happened to a mail, in order: what is known here, and each event that SendGrid sent of it.

And what became of its recipients, for code that has kept the ids of a message.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.db import router
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from events_app.decode import Unreadable
from events_app.models import Event
from events_app.normalize import read
from events_app.slices import SLICE
from sending_app.evidence import requests_of
from sending_app.message import RecipientStatus, SendStatus
from sending_app.models import Part, Recipient
from sending_app.outbox import using
from sending_app.search import as_uuid, forms
from sending_app.status import MOMENTS, STANDINGS

#: Events of a mail that are read, the first ones.
MOST = 1000

#: States that a part comes to with words in its log.
_LOGGED = (Part.State.FAILED, Part.State.UNKNOWN, Part.State.PARKED, Part.State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened."""

    at: datetime
    #: "kept", "posted", "accepted", "note", "sent twice", a `Part.State`, or an `EventType`.
    what: str
    #: Of an event, as SendGrid has it.
    recipient: str = ""
    #: Of a bounce or a drop.
    reject_reason: str = ""
    #: A mail server's words, SendGrid's, or ours.
    said: str = ""


def of(message_id: str, most: int | None = MOST) -> list[Moment]:
    """What happened to the mail of this id, as `anymail_status` and events have it.

    Of a mail that left without the outbox there are its events.
    """
    ours = as_uuid(message_id)
    if ours is None:
        return _in_order(None, _stored([message_id])[:most])
    parts = Part.objects.using(using()).filter(recipients__message_id=ours).select_related("message")
    return _in_order(parts.first(), _stored([str(ours)])[:most])


def of_part(
    part: Part,
    message_ids: Collection[uuid.UUID],
    most: int | None = MOST,
    to: Collection[str] | None = None,
) -> list[Moment]:
    """What happened to the part, with the events of these ids of its; or of them those `to` some addresses."""
    return _in_order(part, _stored([str(one) for one in message_ids], to)[:most])


def events_of(message_ids: Collection[uuid.UUID], to: Collection[str] | None = None) -> int:
    """How many events there are of these ids, or of these to some addresses."""
    return _stored([str(one) for one in message_ids], to).count()


def status_of(*message_ids: str) -> SendStatus:
    """Where the recipients of these ids have got to, by their addresses, as the outbox has them.

    Of whom several mails went to, it is the last one.
    """
    found = SendStatus()
    rows = [row for part in _recipients(message_ids).values() for row in part.values()]
    found.set_recipient_status(
        {row.address: RecipientStatus(str(row.message_id), row.status) for row in sorted(rows, key=_pk)}
    )
    return found


def refresh(status: SendStatus) -> None:
    """Bring a message's status up to date. Recipients the outbox does not have stay as they are."""
    there = _recipients({str(one.message_id) for one in status.recipients.values()})
    new: dict[str, RecipientStatus] = {}
    for address, known in status.recipients.items():
        rows = there.get(str(known.message_id), {})
        # Under the address as its sender wrote it, whose domain may have gone out in ASCII.
        row = next((rows[form] for form in forms(address) if form in rows), None)
        if row:
            new[address] = RecipientStatus(known.message_id, row.status)
    status.set_recipient_status(new)


def _recipients(message_ids: Collection[str]) -> dict[str, dict[str, Recipient]]:
    """The recipients of these ids by id and address."""
    ids = [one for one in map(as_uuid, message_ids) if one]
    found: defaultdict[str, dict[str, Recipient]] = defaultdict(dict)
    for at in range(0, len(ids), SLICE):
        rows = Recipient.objects.using(using()).filter(message_id__in=ids[at : at + SLICE])
        for row in rows.only("message_id", "address", "status"):
            found[str(row.message_id)][row.address] = row
    return found


_pk = attrgetter("pk")


def _in_order(part: Part | None, stored: "QuerySet[Event]") -> list[Moment]:
    return sorted([*(_here(part) if part else ()), *_events(part, stored)], key=_when)


def _when(moment: Moment) -> tuple[datetime, int]:
    # By the second, as SendGrid tells time.
    return moment.at.replace(microsecond=0), _ORDER.get(moment.what, 0)


#: Of moments in one second: what is known here comes first, then all goes as a mail does.
_ORDER: dict[str, int] = {kind.value: standing.rank for kind, standing in STANDINGS.items()}
_ORDER |= dict.fromkeys([kind.value for kind in MOMENTS], max(_ORDER.values()) + 1)


def _here(part: Part) -> Iterator[Moment]:
    """What is known here."""
    yield Moment(part.message.created_at, "kept", said=f"for the mailer {part.alias}")
    if part.attempted_at:
        yield Moment(part.attempted_at, "posted", said=f"attempt {part.attempts}")
    for number, entry in enumerate(part.log, 1):
        last = number == len(part.log) and part.state in _LOGGED
        what = str(Part.State(part.state).value) if last else "note"
        at, said = _noted(entry, part.message.created_at)
        yield Moment(at, what, said=said)
    if part.finished_at and part.state in _LOGGED and not part.log:
        yield Moment(part.finished_at, str(Part.State(part.state).value), said=part.error)
    if part.accepted_at:
        yield Moment(part.accepted_at, "accepted", said=_proof(part))


def _noted(entry: Any, otherwise: datetime) -> tuple[datetime, str]:
    """A line of the log; one that cannot be read stands as it is, where the mail begins."""
    try:
        return datetime.fromisoformat(entry["at"]).astimezone(UTC), str(entry["what"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return otherwise, str(entry)


def _proof(part: Part) -> str:
    said = f"X-Message-Id {part.x_message_id}" if part.x_message_id else ""
    by_events = "as its events show" if part.accepted_at == part.seen_at else ""
    return ", ".join(filter(None, (by_events, said)))


def _events(part: Part | None, stored: "QuerySet[Event]") -> Iterator[Moment]:
    twice = part is not None and part.sent_twice
    for row in stored:
        at = row.timestamp or row.received_at
        try:
            _, event = read(bytes(row.raw))
        except Unreadable as error:
            yield Moment(at, row.event_type, row.recipient, said=str(error))
            continue
        other = set(requests_of(event)) - {part.x_message_id if part else ""}
        if twice and other:
            twice = False
            yield Moment(at, "sent twice", said=f"SendGrid has it as {other.pop()} as well")
        said = event.mta_response or event.click_url or event.description or ""
        yield Moment(at, event.event_type, event.recipient or "", event.reject_reason or "", said)


def _stored(message_ids: Collection[str], to: Collection[str] | None = None) -> "QuerySet[Event]":
    events = Event.objects.using(router.db_for_write(Event)).filter(message_id__in=message_ids)
    if to is not None:
        events = events.filter(recipient__in=to)
    return events.order_by(Coalesce("timestamp", "received_at"), "pk")
