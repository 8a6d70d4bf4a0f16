"""The history of a mail in order: steps in the outbox, SendGrid's events, and replies.

Code that stored the ids of a message also reads the status of the recipients here.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeAlias, TypeVar

from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from events_app.decode import Unreadable
from events_app.models import Event, InboundMail
from events_app.normalize import read_event
from events_app.shared import own_events
from events_app.shared.database import SLICE
from sending_app.filters import address_forms, as_uuid
from sending_app.message import RecipientStatus, SendStatus
from sending_app.models import Mail, Recipient
from sending_app.outcome.events import requests_of
from sending_app.outcome.recipients import ENGAGEMENT_TIMES, RANKED_STATUSES

__all__ = [
    "Moment",
    "of",
    "refresh",
    "status_of",
]

_T = TypeVar("_T")

#: Most events of a mail to read, first events first.
MAX_EVENTS = 1000

#: `Moment.what` of a reply.
ANSWERED = "answered"

#: States whose reason is in the log.
_LOGGED = (
    *(Mail.State.FAILED, Mail.State.UNKNOWN, Mail.State.PARKED, Mail.State.CANCELLED, Mail.State.REJECTED),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A step in the history of a mail."""

    at: datetime
    #: "created", "posted", "accepted", "note", "sent twice", "answered", a `Mail.State`, or an `EventType`.
    what: str
    #: Recipient of an event, in SendGrid's spelling; sender of a reply.
    recipient: str = ""
    #: Set for a bounce or a drop.
    reject_reason: str = ""
    #: Text of a mail server, of SendGrid, or ours.
    said: str = ""
    #: The primary key of the stored event.
    event: int | None = field(default=None, compare=False)
    #: The primary key of the reply, an inbound mail.
    reply: int | None = field(default=None, compare=False)


#: The type of `anymail_status.message_id`: an id, several ids, or None if ids do not go to SendGrid.
Id: TypeAlias = str | uuid.UUID | None
Ids: TypeAlias = Id | Collection[Id]


def of(message_id: Ids, most: int | None = MAX_EVENTS) -> list[Moment]:
    """The history of the mails with these ids. `most` limits the events, and the replies, of each mail.

    A mail of the direct backend only has events and replies.
    """
    ids = _flat([message_id])
    ids_by_mail = _mails(ids)
    moments = [moment for mail, known in ids_by_mail.items() for moment in of_mail(mail, known, most)]
    not_in_outbox = ids - {str(known) for mail_ids in ids_by_mail.values() for known in mail_ids}
    for ids_slice in _slices(not_in_outbox):
        moments += _history(None, ids_slice, most)
    return sorted(moments, key=_when)


def of_mail(
    mail: Mail,
    message_ids: Collection[uuid.UUID],
    most: int | None = MAX_EVENTS,
    to: Collection[str] | None = None,
) -> list[Moment]:
    """The history of a mail, with events and replies of the ids. `most` limits the events, and the replies.

    With `to`, only events of recipients and replies of senders in `to`.
    """
    return _history(mail, [str(message_id) for message_id in message_ids], most, to)


def events_of(message_ids: Collection[uuid.UUID], to: Collection[str] | None = None) -> int:
    """Count the events of the ids, or with `to` only of recipients in `to`."""
    return _stored([str(message_id) for message_id in message_ids], to).count()


def is_proven(message_ids: Collection[uuid.UUID]) -> bool:
    """Whether an event of SendGrid's with one of the ids is stored."""
    stored = _stored([str(message_id) for message_id in message_ids])
    return stored.exclude(webhook=own_events.WEBHOOK).exists()


def stored_events(pks: Collection[int]) -> "list[Event]":
    """The events with these primary keys, with their pending deliveries."""
    return list(Event.objects.filter(pk__in=pks).select_related("pending").order_by("pk"))


def status_of(*message_ids: Ids) -> SendStatus:
    """The status of the recipients of these ids, by address, from the outbox.

    A recipient of several mails has the status of the last mail.
    """
    status = SendStatus()
    rows = [row for by_address in _recipients(_flat(message_ids)).values() for row in by_address.values()]
    rows.sort(key=attrgetter("pk"))
    status.set_recipient_status(
        {row.address: RecipientStatus(str(row.message_id), row.status) for row in rows}
    )
    return status


def refresh(status: SendStatus) -> None:
    """Update a message's status from the outbox. Recipients that the outbox does not have stay unchanged."""
    ids = {address: _canonical(known.message_id) for address, known in status.recipients.items()}
    by_id = _recipients(set(ids.values()))
    new: dict[str, RecipientStatus] = {}
    for address, known in status.recipients.items():
        rows = by_id.get(ids[address], {})
        # The status has the address as the caller wrote the address; the outbox has the domain in ASCII.
        row = next((rows[form] for form in address_forms(address) if form in rows), None)
        if row:
            new[address] = RecipientStatus(known.message_id, row.status)
    status.set_recipient_status(new)


def _flat(message_ids: Iterable[Ids]) -> set[str]:
    """Flatten ids and collections of ids."""
    ids: set[str] = set()
    for message_id in message_ids:
        if message_id is None or isinstance(message_id, str | uuid.UUID):
            ids.add(_canonical(message_id))
        else:
            ids |= _flat(message_id)
    return ids - {""}


def _canonical(message_id: object) -> str:
    """Our id in the spelling of events; any other id unchanged."""
    text = "" if message_id is None else str(message_id)
    return str(as_uuid(text) or text)


def _recipients(message_ids: Collection[str]) -> dict[str, dict[str, Recipient]]:
    """Recipients of the ids by id and address."""
    by_id: defaultdict[str, dict[str, Recipient]] = defaultdict(dict)
    for rows in _rows(message_ids):
        for row in rows.only("message_id", "address", "status"):
            by_id[str(row.message_id)][row.address] = row
    return by_id


def _mails(message_ids: Collection[str]) -> dict[Mail, set[uuid.UUID]]:
    """Mails of the ids, with the matching ids."""
    ids_by_pk: defaultdict[int, set[uuid.UUID]] = defaultdict(set)
    for rows in _rows(message_ids):
        for pk, message_id in rows.order_by().values_list("mail", "message_id").distinct():
            ids_by_pk[pk].add(message_id)
    mails = Mail.objects.select_related("message").defer("personalizations", "message__content")
    slices = (mails.filter(pk__in=pks).order_by("pk") for pks in _slices(sorted(ids_by_pk)))
    return {mail: ids_by_pk[mail.pk] for rows in slices for mail in rows}


def _rows(message_ids: Collection[str]) -> "Iterator[QuerySet[Recipient]]":
    for uuids in _slices(filter(None, map(as_uuid, message_ids))):
        yield Recipient.objects.filter(message_id__in=uuids)


def _slices(ids: Iterable[_T]) -> Iterator[list[_T]]:
    """Slices that a query can take."""
    all_ids = list(ids)
    for start in range(0, len(all_ids), SLICE):
        yield all_ids[start : start + SLICE]


def _history(
    mail: Mail | None, ids: Collection[str], most: int | None, to: Collection[str] | None = None
) -> list[Moment]:
    """The steps of the mail in the outbox, and the events and replies of the ids, by time."""
    steps = _steps(mail) if mail else ()
    moments = (*steps, *_events(mail, _stored(ids, to)[:most]), *_answers(ids, to, most))
    return sorted(moments, key=_when)


def _when(moment: Moment) -> tuple[datetime, int]:
    # To the second, like SendGrid's times.
    return moment.at.replace(microsecond=0), _ORDER.get(moment.what, 0)


#: Order within a second: steps in the outbox, then events in the order of a mail's life, then replies.
_ORDER: dict[str, int] = {kind.value: ranked.rank for kind, ranked in RANKED_STATUSES.items()}
_ORDER |= dict.fromkeys([kind.value for kind in ENGAGEMENT_TIMES], max(_ORDER.values()) + 1)
_ORDER[ANSWERED] = max(_ORDER.values()) + 1


def _steps(mail: Mail) -> Iterator[Moment]:
    """Steps in the outbox."""
    state = str(Mail.State(mail.state).value)
    yield Moment(mail.message.created_at, "created", said=f"for the mailer {mail.alias}")
    if mail.attempted_at:
        yield Moment(mail.attempted_at, "posted", said=f"attempt {mail.attempts}")
    for number, entry in enumerate(mail.log, 1):
        try:
            at, text = datetime.fromisoformat(entry["at"]).astimezone(UTC), str(entry["what"])
        except (LookupError, TypeError, ValueError, OverflowError):  # shown whole
            at, text = mail.message.created_at, str(entry)
        is_last = number == len(mail.log) and mail.state in _LOGGED
        yield Moment(at, state if is_last else "note", said=text)
    if mail.finished_at and mail.state in _LOGGED and not mail.log:
        yield Moment(mail.finished_at, state, said=mail.error)
    if mail.accepted_at:
        by_events = "as its events show" if mail.accepted_at == mail.first_event_at else ""
        x_message_id = f"X-Message-Id {mail.x_message_id}" if mail.x_message_id else ""
        yield Moment(mail.accepted_at, "accepted", said=", ".join(filter(None, (by_events, x_message_id))))


def _events(mail: Mail | None, stored: "QuerySet[Event]") -> Iterator[Moment]:
    twice = mail is not None and mail.sent_twice
    for row in stored:
        at = row.timestamp or row.received_at
        try:
            _, event = read_event(bytes(row.raw))
        except Unreadable as error:
            yield Moment(at, row.event_type, row.recipient, said=str(error), event=row.pk)
            continue
        second_requests = set(requests_of(event)) - {mail.x_message_id if mail else ""}
        if twice and second_requests:
            twice = False
            text = f"SendGrid also accepted it as {second_requests.pop()}"
            yield Moment(at, "sent twice", said=text, event=row.pk)
        text = event.mta_response or event.click_url or event.description or ""
        yield Moment(at, event.event_type, event.recipient or "", event.reject_reason or "", text, row.pk)


def _stored(message_ids: Collection[str], to: Collection[str] | None = None) -> "QuerySet[Event]":
    events = Event.objects.filter(message_id__in=message_ids)
    if to is not None:
        events = events.filter(recipient__in=to)
    return events.order_by(Coalesce("timestamp", "received_at"), "pk")


def _answers(
    message_ids: Collection[str], senders: Collection[str] | None, most: int | None
) -> Iterator[Moment]:
    """Inbound mails that reply to the ids, without duplicates."""
    # SQLite only uses the partial index if the query repeats the index's condition.
    mails = InboundMail.objects.filter(answers__in=message_ids, duplicate_of=None).exclude(answers="")
    if senders is not None:
        mails = mails.filter(sender__in=senders)
    for mail in mails.order_by("received_at", "pk")[:most]:
        text = f"inbound mail {mail.pk}: {mail.subject}".removesuffix(": ")
        yield Moment(mail.received_at, ANSWERED, mail.sender, said=text, reply=mail.pk)
