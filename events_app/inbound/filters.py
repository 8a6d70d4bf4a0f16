"""Which inbound mails an operator means: criteria, and the mails that meet all of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import Q, QuerySet

from events_app.dispatch.filters import Filter, any_of, filter_columns
from events_app.models import InboundMail
from events_app.shared.database import clean


@dataclass(frozen=True, kw_only=True)
class Criteria(Filter):
    """What an inbound mail must meet, all of it; what is empty or None asks for nothing."""

    #: Our ids or Message-IDs, with or without their <>, any of them.
    ids: tuple[str, ...] = ()
    #: In From, or the first one it was for; in whatever case.
    address: str | None = None
    #: A piece of it, in whatever case.
    subject: str | None = None
    #: The id of the message of ours that it answers.
    answers: str | None = None
    #: Duplicates alone: mails that SendGrid has posted before.
    duplicates: bool = False


def find(criteria: Criteria) -> "QuerySet[InboundMail]":
    """The mails that meet the criteria."""
    found = criteria.apply(mails())
    if criteria.ids:
        found = found.filter(any_of(_all_columns(criteria.ids)))
    if criteria.address is not None:
        found = found.filter(_with_address(criteria.address))
    if criteria.answers is not None:
        found = found.filter(_answering(criteria.answers))
    return filter_columns(
        found,
        subject__icontains=criteria.subject and clean(criteria.subject),
        duplicate_of__isnull=False if criteria.duplicates else None,
    )


def missing(ids: Sequence[str]) -> list[str]:
    """Those ids that no mail has."""
    rows = mails().filter(any_of(_all_columns(ids))).values("pk", "message_id") if ids else ()
    there = {column for row in rows for column in row.items()}
    return [one for one in ids if there.isdisjoint(_columns(one))]


def matching(term: str) -> Q:
    """The mails with this id or address, or that answer the message with this id. Each has an index."""
    return any_of(_columns(term)) | _with_address(term) | _answering(term)


def mails() -> "QuerySet[InboundMail]":
    """All of them, from the database that has them."""
    return InboundMail.objects.using(router.db_for_write(InboundMail))


def _with_address(address: str) -> Q:
    address = clean(address).strip().lower()
    return Q(sender=address) | Q(recipient=address)


def _answering(message_id: str) -> Q:
    # The index has those alone that answer one, and SQLite takes it only where that is said.
    return Q(answers=clean(message_id).strip()) & ~Q(answers="")


def _all_columns(ids: Sequence[str]) -> list[tuple[str, object]]:
    return [column for one in ids for column in _columns(one)]


def _columns(id: str) -> list[tuple[str, object]]:
    """Where an id may stand, and what stands there."""
    if re.fullmatch(r"[0-9]{1,18}", id):
        return [("pk", int(id))]
    text = clean(id).strip()
    return [("message_id", form[:255]) for form in {text, f"<{text.strip('<>')}>"} if form]
