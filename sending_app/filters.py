"""Finds the mails of the outbox that an operator asks for."""

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db.models import QuerySet

from events_app.shared.addresses import comparable
from events_app.shared.database import RowFilter, clean, filter_columns
from sending_app import conf
from sending_app.compose.addresses import encoder
from sending_app.models import Mail, Recipient
from sending_app.outbox import using

#: The rules by which a domain may have become ASCII.
ENCODERS = ("idna2008", "idna2003", "uts46")


@dataclass(frozen=True, kw_only=True)
class MailCriteria(RowFilter):
    """A filter of mails. An id is the mail's number, the id of one of its recipients, or SendGrid's id."""

    #: The number of its message.
    message: int | None = None
    #: The id of one of its recipients, as `anymail_status` and events have it.
    message_id: str | None = None
    #: The address of one of its recipients, in any case. The domain may be in ASCII.
    address: str | None = None
    #: A part of the subject, in any case.
    subject: str | None = None
    mailer: str | None = None
    lane: str | None = None
    sent_twice: bool = False


def find_mails(criteria: MailCriteria) -> "QuerySet[Mail]":
    """The mails that match."""
    mails = Mail.objects.using(using())
    if criteria.message is not None and abs(criteria.message) >= 2**63:
        return mails.none()  # databases refuse to compare a column with such a number
    if criteria.ids:
        mails = mails.filter(pk__in=list(_numbers(criteria.ids)))
    if criteria.message_id is not None or criteria.address is not None:
        mails = mails.filter(pk__in=recipients(criteria).values("mail"))
    return filter_columns(
        mails,
        message=criteria.message,
        message__subject__icontains=criteria.subject and clean(criteria.subject),
        alias=criteria.mailer and clean(criteria.mailer),
        lane=criteria.lane,
        state__in=criteria.states or None,
        sent_twice=criteria.sent_twice or None,
        # Not the mail's own time, which a retry moves.
        message__created_at__gte=criteria.since,
        message__created_at__lt=criteria.until,
    )


def recipients(criteria: MailCriteria) -> "QuerySet[Recipient]":
    """The recipients that the filter names, or all."""
    rows = Recipient.objects.using(using())
    if criteria.message_id is not None:
        rows = rows.filter(message_id__in=filter(None, [as_uuid(criteria.message_id)]))
    if criteria.address is not None:
        rows = rows.filter(address__in=address_forms(criteria.address))
    return rows


def in_events(criteria: MailCriteria) -> set[str] | None:
    """The forms in which stored events have the filter's address; None without an address."""
    return None if criteria.address is None else address_forms(criteria.address)


def missing_mails(ids: Sequence[str]) -> list[str]:
    """The ids that no mail has."""
    return [text for text in ids if not Mail.objects.using(using()).filter(pk__in=_numbers([text])).exists()]


def of_requests(x_message_ids: Sequence[str]) -> "QuerySet[Mail]":
    """The mails that SendGrid has as these requests."""
    # The index has only mails with such an id, and SQLite uses it only for a condition that says so.
    return Mail.objects.using(using()).filter(x_message_id__in=x_message_ids).exclude(x_message_id="")


def address_forms(address: str) -> set[str]:
    """The forms in which recipients store an address that an operator types, or an inbound mail has."""
    address = clean(address).strip()
    local, _, domain = address.rpartition("@")
    variants = {address}
    if not domain.isascii():
        for rules in (*ENCODERS, conf.SENDGRID_IDNA_ENCODER.get() or conf.IDNA_ENCODER.get()):
            with suppress(ValueError):
                variants.add(f"{local}@{encoder(rules)(domain)}")
    return {comparable(variant) for variant in variants}


def as_uuid(text: str) -> uuid.UUID | None:
    """An id of ours; None for other text."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None


def _numbers(ids: Sequence[str]) -> Iterator[int]:
    """The numbers of the mails with these ids."""
    # A query for each kind of id: one condition for all would scan the table.
    ours: list[str] = []
    sendgrids: list[str] = []
    for text in ids:
        if re.fullmatch(r"[0-9]{1,18}", text):
            yield int(text)
        else:
            (sendgrids if as_uuid(text) is None else ours).append(text)
    if ours:
        rows = Recipient.objects.using(using()).filter(message_id__in=ours)
        yield from rows.values_list("mail", flat=True).distinct()
    # An event's sg_message_id begins with the id of its request, up to a dot.
    requests = [form for text in map(clean, sendgrids) for form in (text, text.partition(".")[0]) if form]
    yield from of_requests(requests).values_list("pk", flat=True)
