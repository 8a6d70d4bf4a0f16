"""Finds the mails of the outbox, and the suppressions, that an operator asks for."""

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import or_

from django.db.models import Max, Q, QuerySet

from events_app.shared.addresses import comparable, for_search, wanted_beginning
from events_app.shared.database import AnyOf, IndexHint, RowFilter, StartsWith, clean, filter_columns
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from events_app.shared.search import NEWEST, between, newest_ids, newest_rows
from sending_app import conf
from sending_app.compose.addresses import encoder
from sending_app.models import TROUBLES, Mail, MessageLabel, OutboxMessage, Recipient, Suppression
from sending_app.outbox import label
from sending_app.suppression.manual import in_force

#: The rules by which a domain may have become ASCII.
ENCODERS = ("idna2008", "idna2003", "uts46")


class RecipientOutcome(StrEnum):
    """The outcome of a mail for a recipient, as a person asks for it."""

    BOUNCED = "bounced"
    #: SendGrid did not try to deliver the mail.
    REJECTED = "rejected"
    DEFERRED = "deferred"
    #: The mail did not reach SendGrid.
    FAILED = "failed"
    COMPLAINED = "complained"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"


_IN_TROUBLE = Q(IndexHint("status", TROUBLES))
_WITH_OUTCOME = {
    **{RecipientOutcome(status): Q(status=status) & _IN_TROUBLE for status in TROUBLES},
    RecipientOutcome.COMPLAINED: Q(complained_at__isnull=False),
    RecipientOutcome.DELIVERED: Q(status="delivered"),
    RecipientOutcome.OPENED: Q(opened_at__isnull=False),
    RecipientOutcome.CLICKED: Q(clicked_at__isnull=False),
}
#: Outcomes that an index serves. Others are looked for among the `search.NEWEST` mails.
_INDEXED = {*TROUBLES, RecipientOutcome.COMPLAINED}


@dataclass(frozen=True, kw_only=True)
class MailCriteria(RowFilter):
    """A filter of mails. An id is the mail's number, the id of one of its recipients, or SendGrid's id."""

    #: The number of its message.
    message: int | None = None
    #: The id of one of its recipients, as `anymail_status` and events have it.
    message_id: str | None = None
    #: The address of one of its recipients, in any case. The domain may be in ASCII. With a * at the end: the
    #: beginning of the address.
    address: str | None = None
    #: A part of the subject, in any case.
    subject: str | None = None
    #: The outcomes to look for; a recipient must have one.
    outcomes: tuple[str, ...] = ()
    #: A tag of its message.
    tag: str | None = None
    #: A key and a value of its message's metadata.
    metadata: tuple[str, str] | None = None
    mailer: str | None = None
    lane: str | None = None
    sent_twice: bool = False


def find_mails(criteria: MailCriteria) -> "QuerySet[Mail]":
    """The mails that match."""
    mails = Mail.objects.all()
    if criteria.message is not None and abs(criteria.message) >= 2**63:
        return mails.none()  # databases refuse to compare a column with such a number
    if criteria.ids:
        mails = mails.filter(pk__in=list(_numbers(criteria.ids)))
    if criteria.message_id is not None or criteria.address is not None or criteria.outcomes:
        mails = mails.filter(pk__in=recipients(criteria).values("mail"))
    if criteria.tag is not None:
        mails = mails.filter(message__in=_labelled("", criteria.tag).values("message"))
    if criteria.metadata is not None:
        mails = mails.filter(message__in=_labelled(*criteria.metadata).values("message"))
    # Not the mail's own time, which a retry moves.
    mails = between(mails, "message__created_at", criteria.since, criteria.until)
    return filter_columns(
        mails,
        message=criteria.message,
        message__subject__icontains=criteria.subject,
        alias=criteria.mailer,
        lane=criteria.lane,
        state__in=criteria.states if len(criteria.states) > 1 else None,
        # SQLite uses a partial index only for the one state of its condition.
        state=criteria.states[0] if len(criteria.states) == 1 else None,
        sent_twice=criteria.sent_twice or None,
    )


def recipients(criteria: MailCriteria) -> "QuerySet[Recipient]":
    """The recipients that the filter names, or all."""
    rows = Recipient.objects.all()
    if criteria.message_id is not None:
        rows = rows.filter(message_id__in=filter(None, [as_uuid(criteria.message_id)]))
    if criteria.address is not None:
        rows = rows.filter(_with_address(criteria.address))
    if criteria.outcomes:
        rows = rows.filter(reduce(or_, (_WITH_OUTCOME[RecipientOutcome(name)] for name in criteria.outcomes)))
        if not _INDEXED.issuperset(criteria.outcomes):
            last = Mail.objects.aggregate(last=Max("pk"))["last"] or 0
            rows = rows.filter(mail__gt=last - NEWEST)
    return rows


def in_events(criteria: MailCriteria, found: "QuerySet[Recipient]") -> set[str] | None:
    """The addresses of the events to show; None for all. `found` are the recipients that match."""
    if criteria.address is None:
        return None
    if wanted_beginning(criteria.address) is None:
        return address_forms(criteria.address)
    return set(found.values_list("address", flat=True))


def search_mails(term: str, *, by_part: bool) -> Q:
    """The mails that a person means.

    By number, message id, X-Message-Id, a recipient's address, a tag, or metadata as KEY=VALUE. With
    `by_part`, also by the beginning of an address, and by a part of the subject of the `search.NEWEST`
    messages. Up to `search.MOST` mails of each kind, newest first.
    """
    term = clean(term).strip()
    if not term:
        return Q(pk__in=())
    ids = set(_numbers([term]))
    ids |= newest_ids(Recipient.objects.filter(_with_address(for_search(term, by_part))), "mail")
    messages = newest_ids(_labelled("", term), "message")
    if "=" in term:
        key, _, text = term.partition("=")
        messages |= newest_ids(_labelled(key, text), "message")
    if by_part:
        messages |= newest_ids(newest_rows(OutboxMessage.objects.filter(subject__icontains=term)))
    ids |= newest_ids(Mail.objects.filter(AnyOf("message", sorted(messages))))
    return Q(AnyOf("pk", sorted(ids)))


def missing_mails(ids: Sequence[str]) -> list[str]:
    """The ids that no mail has."""
    return [text for text in ids if not Mail.objects.filter(pk__in=_numbers([text])).exists()]


def of_requests(x_message_ids: Sequence[str]) -> "QuerySet[Mail]":
    """The mails that SendGrid has as these requests."""
    # The index has only mails with such an id, and SQLite uses it only for a condition that says so.
    return Mail.objects.filter(x_message_id__in=x_message_ids).exclude(x_message_id="")


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


def search_recipients(term: str, *, by_part: bool) -> Q:
    """The recipients with this message id or address; with `by_part`, with an address that begins so."""
    if message_id := as_uuid(term):
        return Q(message_id=message_id)
    rows = Recipient.objects.filter(_with_address(for_search(clean(term), by_part)))
    return Q(AnyOf("pk", sorted(newest_ids(rows))))


@dataclass(frozen=True, kw_only=True)
class SuppressionCriteria:
    """A filter of suppressions. None and empty match all."""

    #: In any case. With a * at the end: the beginning of the address.
    address: str | None = None
    #: Any of these reasons.
    reasons: tuple[str, ...] = ()
    #: Empty: suppressions of all mail.
    scope: str | None = None
    #: Any of these sources.
    sources: tuple[str, ...] = ()
    #: Ended suppressions, in place of present suppressions.
    ended: bool = False


def find_suppressions(criteria: SuppressionCriteria) -> "QuerySet[Suppression]":
    """The suppressions that match."""
    rows = Suppression.objects.all()
    if criteria.address is not None:
        rows = rows.filter(_suppressed_with(criteria.address))
    holds = in_force(rows.db)
    return filter_columns(
        rows.filter(~holds if criteria.ended else holds),
        reason__in=criteria.reasons or None,
        scope=criteria.scope,
        source__in=criteria.sources or None,
    )


def suppressions_of(address: str) -> "QuerySet[Suppression]":
    """The suppressions of a whole address, ended ones included. Also those of an erased person."""
    return Suppression.objects.filter(address__in=_suppressed_forms(address))


def search_suppressions(term: str, *, by_part: bool) -> Q:
    """The suppressions of this address; with `by_part`, of addresses that begin so."""
    rows = Suppression.objects.filter(_with_address(for_search(clean(term), by_part)))
    return Q(AnyOf("pk", sorted(newest_ids(rows))))


def _suppressed_with(address: str) -> Q:
    if wanted_beginning(clean(address)) is None:
        return Q(address__in=_suppressed_forms(address))
    return _with_address(address)


def _suppressed_forms(address: str) -> set[str]:
    forms = address_forms(address)
    if PERSONAL_DATA_KEY.get():
        forms |= {pseudonym(form) for form in forms}
    return forms


def _with_address(address: str) -> Q:
    start = wanted_beginning(clean(address))
    if start is None:
        return Q(address__in=address_forms(address))
    return Q(StartsWith("address", start)) if start else Q(pk__in=())  # a * alone must not mean every row


def _labelled(name: str, text: str) -> "QuerySet[MessageLabel]":
    """The labels with this name and text; a tag has an empty name."""
    name, text = label(name, text)
    return MessageLabel.objects.filter(name=name, value=text)


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
        rows = Recipient.objects.filter(message_id__in=ours)
        yield from rows.values_list("mail", flat=True).distinct()
    # An event's sg_message_id begins with the id of its request, up to a dot.
    requests = [form for text in map(clean, sendgrids) for form in (text, text.partition(".")[0]) if form]
    yield from of_requests(requests).values_list("pk", flat=True)
