"""What happened to a mail, in order: what is known here, and each event that SendGrid sent of it.

And what became of its recipients, for code that has kept the ids of a message.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

from django.db import router
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from events_app.decode import Unreadable
from events_app.models import Event, InboundMail
from events_app.normalize import read
from events_app.shared.database import SLICE
from sending_app.filters import as_uuid, forms
from sending_app.message import RecipientStatus, SendStatus
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome.events import requests_of
from sending_app.outcome.recipients import ENGAGEMENT_TIMES, RANKED_STATUSES

_T = TypeVar("_T")

#: Events of a mail that are read, the first ones.
MAX_EVENTS = 1000

#: What happened where an inbound mail answers this one.
ANSWERED = "answered"

#: States that a mail comes to with words in its log.
_LOGGED = (Mail.State.FAILED, Mail.State.UNKNOWN, Mail.State.PARKED, Mail.State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened."""

    at: datetime
    #: "kept", "posted", "accepted", "note", "sent twice", "answered", a `Mail.State`, or an `EventType`.
    what: str
    #: Of an event, as SendGrid has it; of an answer, who wrote it.
    recipient: str = ""
    #: Of a bounce or a drop.
    reject_reason: str = ""
    #: A mail server's words, SendGrid's, or ours.
    said: str = ""


#: As `anymail_status.message_id` has it: an id, several, or None where ids do not go to SendGrid.
Id: TypeAlias = str | uuid.UUID | None
Ids: TypeAlias = Id | Collection[Id]


def of(message_id: Ids, most: int | None = MAX_EVENTS) -> list[Moment]:
    """What happened to the mail of this id, or to those of several.

    Of a mail that left without the outbox there are its events. `most` is of each mail.
    """
    ids = _each([message_id])
    by_mail = _mails(ids)
    moments = [moment for mail, its in by_mail.items() for moment in of_mail(mail, its, most)]
    outside = ids - {str(one) for its in by_mail.values() for one in its}
    for some in _slices(outside):
        moments += _in_order(None, some, most)
    return sorted(moments, key=_when)


def of_mail(
    mail: Mail,
    message_ids: Collection[uuid.UUID],
    most: int | None = MAX_EVENTS,
    to: Collection[str] | None = None,
) -> list[Moment]:
    """What happened to the mail, with the events of these ids of its, or those alone `to` some addresses.

    And with the answers to it, or those alone of these addresses; `most` is of either.
    """
    return _in_order(mail, [str(one) for one in message_ids], most, to)


def events_of(message_ids: Collection[uuid.UUID], to: Collection[str] | None = None) -> int:
    """How many events there are of these ids, or of these to some addresses."""
    return _stored([str(one) for one in message_ids], to).count()


def status_of(*message_ids: Ids) -> SendStatus:
    """Where the recipients of these ids have got to, by their addresses, as the outbox has them.

    Of whom several mails went to, it is the last one.
    """
    found = SendStatus()
    rows = [row for mail in _recipients(_each(message_ids)).values() for row in mail.values()]
    found.set_recipient_status(
        {row.address: RecipientStatus(str(row.message_id), row.status) for row in sorted(rows, key=_pk)}
    )
    return found


def refresh(status: SendStatus) -> None:
    """Bring a message's status up to date. Recipients the outbox does not have stay as they are."""
    ids = {address: _canonical(one.message_id) for address, one in status.recipients.items()}
    there = _recipients(set(ids.values()))
    new: dict[str, RecipientStatus] = {}
    for address, known in status.recipients.items():
        rows = there.get(ids[address], {})
        # Under the address as its sender wrote it, whose domain may have gone out in ASCII.
        row = next((rows[form] for form in forms(address) if form in rows), None)
        if row:
            new[address] = RecipientStatus(known.message_id, row.status)
    status.set_recipient_status(new)


def _each(message_ids: Iterable[Ids]) -> set[str]:
    """The ids, of which several may stand together."""
    found: set[str] = set()
    for one in message_ids:
        if one is None or isinstance(one, str | uuid.UUID):
            found.add(_canonical(one))
        else:
            found |= _each(one)
    return found - {""}


def _canonical(message_id: object) -> str:
    """An id of ours as events have it; any other one as it is."""
    text = "" if message_id is None else str(message_id)
    return str(as_uuid(text) or text)


def _recipients(message_ids: Collection[str]) -> dict[str, dict[str, Recipient]]:
    """The recipients of these ids by id and address."""
    found: defaultdict[str, dict[str, Recipient]] = defaultdict(dict)
    for rows in _rows(message_ids):
        for row in rows.only("message_id", "address", "status"):
            found[str(row.message_id)][row.address] = row
    return found


def _mails(message_ids: Collection[str]) -> dict[Mail, set[uuid.UUID]]:
    """The mails of these ids, each with those of them that it has."""
    found: defaultdict[int, set[uuid.UUID]] = defaultdict(set)
    for rows in _rows(message_ids):
        for pk, message_id in rows.order_by().values_list("mail", "message_id").distinct():
            found[pk].add(message_id)
    mails = (
        Mail.objects.using(using()).select_related("message").defer("personalizations", "message__content")
    )
    slices = (mails.filter(pk__in=some).order_by("pk") for some in _slices(sorted(found)))
    return {mail: found[mail.pk] for some in slices for mail in some}


def _rows(message_ids: Collection[str]) -> "Iterator[QuerySet[Recipient]]":
    for some in _slices([one for one in map(as_uuid, message_ids) if one]):
        yield Recipient.objects.using(using()).filter(message_id__in=some)


def _slices(ids: Iterable[_T]) -> Iterator[list[_T]]:
    """So many as one query may ask for."""
    left = list(ids)
    for at in range(0, len(left), SLICE):
        yield left[at : at + SLICE]


_pk = attrgetter("pk")


def _in_order(
    mail: Mail | None, ids: Collection[str], most: int | None, to: Collection[str] | None = None
) -> list[Moment]:
    here = _here(mail) if mail else ()
    moments = (*here, *_events(mail, _stored(ids, to)[:most]), *_answers(ids, to, most))
    return sorted(moments, key=_when)


def _when(moment: Moment) -> tuple[datetime, int]:
    # By the second, as SendGrid tells time.
    return moment.at.replace(microsecond=0), _ORDER.get(moment.what, 0)


#: Of moments in one second: what is known here comes first, then all goes as a mail does.
_ORDER: dict[str, int] = {kind.value: ranked.rank for kind, ranked in RANKED_STATUSES.items()}
_ORDER |= dict.fromkeys([kind.value for kind in ENGAGEMENT_TIMES], max(_ORDER.values()) + 1)
_ORDER[ANSWERED] = max(_ORDER.values()) + 1


def _here(mail: Mail) -> Iterator[Moment]:
    """What is known here."""
    yield Moment(mail.message.created_at, "kept", said=f"for the mailer {mail.alias}")
    if mail.attempted_at:
        yield Moment(mail.attempted_at, "posted", said=f"attempt {mail.attempts}")
    for number, entry in enumerate(mail.log, 1):
        last = number == len(mail.log) and mail.state in _LOGGED
        what = str(Mail.State(mail.state).value) if last else "note"
        at, said = _noted(entry, mail.message.created_at)
        yield Moment(at, what, said=said)
    if mail.finished_at and mail.state in _LOGGED and not mail.log:
        yield Moment(mail.finished_at, str(Mail.State(mail.state).value), said=mail.error)
    if mail.accepted_at:
        yield Moment(mail.accepted_at, "accepted", said=_proof(mail))


def _noted(entry: Any, otherwise: datetime) -> tuple[datetime, str]:
    """A line of the log; one that cannot be read stands as it is, where the mail begins."""
    try:
        return datetime.fromisoformat(entry["at"]).astimezone(UTC), str(entry["what"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return otherwise, str(entry)


def _proof(mail: Mail) -> str:
    said = f"X-Message-Id {mail.x_message_id}" if mail.x_message_id else ""
    by_events = "as its events show" if mail.accepted_at == mail.first_event_at else ""
    return ", ".join(filter(None, (by_events, said)))


def _events(mail: Mail | None, stored: "QuerySet[Event]") -> Iterator[Moment]:
    twice = mail is not None and mail.sent_twice
    for row in stored:
        at = row.timestamp or row.received_at
        try:
            _, event = read(bytes(row.raw))
        except Unreadable as error:
            yield Moment(at, row.event_type, row.recipient, said=str(error))
            continue
        other = set(requests_of(event)) - {mail.x_message_id if mail else ""}
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


def _answers(
    message_ids: Collection[str], senders: Collection[str] | None, most: int | None
) -> Iterator[Moment]:
    """The inbound mails that answer these, each once, however often SendGrid has posted it."""
    mails = InboundMail.objects.using(router.db_for_write(InboundMail))
    # The index has those alone that answer one, and SQLite takes it only where that is said.
    mails = mails.filter(answers__in=message_ids, duplicate_of=None).exclude(answers="")
    if senders is not None:
        mails = mails.filter(sender__in=senders)
    for mail in mails.order_by("received_at", "pk")[:most]:
        said = f"inbound mail {mail.pk}: {mail.subject}".removesuffix(": ")
        yield Moment(mail.received_at, ANSWERED, mail.sender, said=said)
