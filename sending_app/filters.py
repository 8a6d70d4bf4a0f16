"""Which mails an operator means: criteria, and the mails of the outbox that meet all of them."""

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from events_app.shared.database import clean
from sending_app import conf
from sending_app.compose.addresses import encoder
from sending_app.models import Mail, Recipient
from sending_app.outbox import using

#: The rules by which a domain may have been made ASCII.
ENCODERS = ("idna2008", "idna2003", "uts46")


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a mail must meet, all of it; what is empty or None asks for nothing."""

    #: Its number, an id of ours in it, or SendGrid's id of it; any of them.
    ids: tuple[str, ...] = ()
    #: The number of its message.
    message: int | None = None
    #: An id of ours, as `anymail_status` and events have it.
    message_id: str | None = None
    #: Of one of its recipients, in whatever case; the domain as people write it, or in ASCII.
    address: str | None = None
    #: A piece of it, in whatever case.
    subject: str | None = None
    mailer: str | None = None
    lane: str | None = None
    #: Any of them.
    states: tuple[str, ...] = ()
    sent_twice: bool = False
    #: Sent here then or later.
    since: datetime | None = None
    #: Sent here before.
    until: datetime | None = None


def find(criteria: Criteria) -> "QuerySet[Mail]":
    """The mails that meet the criteria."""
    mails = Mail.objects.using(using())
    if criteria.ids:
        mails = mails.filter(pk__in=list(_numbers(criteria.ids)))
    if names_recipients(criteria):
        mails = mails.filter(pk__in=recipients(criteria).values("mail"))
    columns: dict[str, object] = {
        "message__in": None if criteria.message is None else _storable(criteria.message),
        "message__subject__icontains": criteria.subject and clean(criteria.subject),
        "alias": criteria.mailer and clean(criteria.mailer),
        "lane": criteria.lane,
        "state__in": criteria.states or None,
        "sent_twice": criteria.sent_twice or None,
        # Not the mail's own time, which a retry moves.
        "message__created_at__gte": criteria.since,
        "message__created_at__lt": criteria.until,
    }
    return mails.filter(**{column: value for column, value in columns.items() if value is not None})


def names_recipients(criteria: Criteria) -> bool:
    """Whether they are about some of a mail's recipients."""
    return criteria.message_id is not None or criteria.address is not None


def recipients(criteria: Criteria) -> "QuerySet[Recipient]":
    """Those they name, or all."""
    found = Recipient.objects.using(using())
    if criteria.message_id is not None:
        found = found.filter(message_id__in=filter(None, [as_uuid(criteria.message_id)]))
    if criteria.address is not None:
        found = found.filter(address__in=forms(criteria.address))
    return found


def in_events(criteria: Criteria) -> set[str] | None:
    """How stored events have the address that was asked for; None where none was."""
    address = criteria.address
    return None if address is None else {*forms(address), clean(address).strip().lower()}


def missing(ids: Sequence[str]) -> list[str]:
    """Those ids that no mail has."""
    return [one for one in ids if not Mail.objects.using(using()).filter(pk__in=_numbers([one])).exists()]


def of_requests(x_message_ids: Sequence[str]) -> "QuerySet[Mail]":
    """The mails that SendGrid has as these requests."""
    # The index has those alone that have such an id, and SQLite takes it only where that is said.
    return Mail.objects.using(using()).filter(x_message_id__in=x_message_ids).exclude(x_message_id="")


def forms(address: str) -> set[str]:
    """What recipients have for an address as people write it."""
    address = clean(address).strip()
    local, _, domain = address.rpartition("@")
    found = {address}
    if not domain.isascii():
        for encode in _encoders():
            try:
                found.add(f"{local}@{encode(domain)}")
            except ValueError:
                continue
    return {one.casefold() for one in found}


def as_uuid(text: str) -> uuid.UUID | None:
    """An id of ours, or None where it cannot be one."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None


def _numbers(ids: Sequence[str]) -> Iterator[int]:
    """The numbers of the mails these ids mean, as far as there are any."""
    # Looked up one kind at a time: in one condition they would be a scan of the table.
    ours: list[str] = []
    others: list[str] = []
    for one in ids:
        if re.fullmatch(r"[0-9]{1,18}", one):
            yield int(one)
        else:
            (others if as_uuid(one) is None else ours).append(one)
    if ours:
        rows = Recipient.objects.using(using()).filter(message_id__in=ours)
        yield from rows.values_list("mail", flat=True).distinct()
    # An event's sg_message_id begins with the id of its request, up to a dot.
    theirs = [form for one in map(clean, others) for form in (one, one.partition(".")[0]) if form]
    yield from of_requests(theirs).values_list("pk", flat=True)


def _storable(number: int) -> list[int]:
    """The number, unless no column can hold it: a database does not even compare with such a one."""
    return [number] if abs(number) < 2**63 else []


def _encoders() -> Iterator[Callable[[str], str]]:
    yield from map(encoder, ENCODERS)
    yield encoder(conf.SENDGRID_IDNA_ENCODER.get() or conf.IDNA_ENCODER.get())
