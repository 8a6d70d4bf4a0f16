"""Finds the inbound mails that an operator asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from events_app.dispatch.filters import Filter, ids_without_row, with_address, with_ids
from events_app.models import InboundMail
from events_app.shared.addresses import for_search
from events_app.shared.database import AnyOf, clean, filter_columns
from events_app.shared.search import newest_ids, newest_rows

_ADDRESSES = ("sender", "recipient")


@dataclass(frozen=True, kw_only=True)
class InboundCriteria(Filter):
    """A filter of inbound mails. An id is ours or a Message-ID, with or without its <>."""

    #: The address in From, or the first recipient; in any case. With a * at the end: its beginning.
    address: str | None = None
    #: A part of the subject, in any case.
    subject: str | None = None
    #: The id of our message that the mail answers.
    answers: str | None = None
    #: Only duplicates: mails that SendGrid has posted before.
    duplicates: bool = False


def find_inbound_mails(criteria: InboundCriteria) -> "QuerySet[InboundMail]":
    """The mails that match."""
    rows = criteria.apply(InboundMail.objects.all())
    if criteria.ids:
        rows = rows.filter(with_ids(criteria.ids, _columns))
    if criteria.address is not None:
        rows = rows.filter(with_address(criteria.address, *_ADDRESSES))
    if criteria.answers is not None:
        rows = rows.filter(_answering(criteria.answers))
    return filter_columns(
        rows,
        subject__icontains=criteria.subject,
        duplicate_of__isnull=False if criteria.duplicates else None,
    )


def missing_inbound_mails(ids: Sequence[str]) -> list[str]:
    """The ids that no mail has."""
    return ids_without_row(InboundMail.objects.all(), ids, _columns)


def search_inbound_mails(term: str, *, by_part: bool) -> Q:
    """The inbound mails that a person means.

    By number, Message-ID, the id of the message they answer, sender or recipient. With `by_part`, also by the
    beginning of an address, and by a part of the subject of the `search.NEWEST` mails. Up to `search.MOST`
    mails of each kind, newest first.
    """
    term = clean(term).strip()
    if not term:
        return Q(pk__in=())
    rows = InboundMail.objects.all()
    ids = newest_ids(rows.filter(with_ids([term], _columns)))
    ids |= newest_ids(rows.filter(_answering(term)))
    for column in _ADDRESSES:
        ids |= newest_ids(rows.filter(with_address(for_search(term, by_part), column)))
    if by_part:
        ids |= newest_ids(newest_rows(rows).filter(subject__icontains=term))
    return Q(AnyOf("pk", sorted(ids)))


def _answering(message_id: str) -> Q:
    # The index has only mails with an answer, and SQLite uses it only for a condition that says so.
    return Q(answers=clean(message_id).strip()) & ~Q(answers="")


def _columns(id: str) -> list[tuple[str, object]]:
    if re.fullmatch(r"[0-9]{1,18}", id):
        return [("pk", int(id))]
    text = clean(id).strip()
    return [("message_id", form[:255]) for form in {text, f"<{text.strip('<>')}>"} if form]
