"""Finds the inbound mails that an operator asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import Q, QuerySet

from events_app.dispatch.filters import Filter, ids_without_row, with_ids
from events_app.models import InboundMail
from events_app.shared.addresses import comparable
from events_app.shared.database import clean, filter_columns


@dataclass(frozen=True, kw_only=True)
class InboundCriteria(Filter):
    """A filter of inbound mails. An id is ours or a Message-ID, with or without its <>."""

    #: The address in From, or the first recipient; in any case.
    address: str | None = None
    #: A part of the subject, in any case.
    subject: str | None = None
    #: The id of our message that the mail answers.
    answers: str | None = None
    #: Only duplicates: mails that SendGrid has posted before.
    duplicates: bool = False


def find_inbound_mails(criteria: InboundCriteria) -> "QuerySet[InboundMail]":
    """The mails that match."""
    rows = criteria.apply(mails())
    if criteria.ids:
        rows = rows.filter(with_ids(criteria.ids, _columns))
    if criteria.address is not None:
        rows = rows.filter(_with_address(criteria.address))
    if criteria.answers is not None:
        rows = rows.filter(_answering(criteria.answers))
    return filter_columns(
        rows,
        subject__icontains=criteria.subject and clean(criteria.subject),
        duplicate_of__isnull=False if criteria.duplicates else None,
    )


def missing_inbound_mails(ids: Sequence[str]) -> list[str]:
    """The ids that no mail has."""
    return ids_without_row(mails(), ids, _columns)


def matching(term: str) -> Q:
    """The mails with this id or address, and answers to the message with this id. An index serves each."""
    return with_ids([term], _columns) | _with_address(term) | _answering(term)


def mails() -> "QuerySet[InboundMail]":
    """All inbound mails, from the database that stores them."""
    return InboundMail.objects.using(router.db_for_write(InboundMail))


def _with_address(address: str) -> Q:
    address = comparable(clean(address))
    return Q(sender=address) | Q(recipient=address)


def _answering(message_id: str) -> Q:
    # The index has only mails with an answer, and SQLite uses it only for a condition that says so.
    return Q(answers=clean(message_id).strip()) & ~Q(answers="")


def _columns(id: str) -> list[tuple[str, object]]:
    if re.fullmatch(r"[0-9]{1,18}", id):
        return [("pk", int(id))]
    text = clean(id).strip()
    return [("message_id", form[:255]) for form in {text, f"<{text.strip('<>')}>"} if form]
