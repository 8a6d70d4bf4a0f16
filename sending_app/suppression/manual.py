"""Operator actions on suppressions: suppress addresses, and end suppressions."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import router, transaction
from django.db.models import Q, QuerySet

from events_app.shared.addresses import comparable
from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.database import database_now, sql_now
from sending_app import conf
from sending_app.compose.addresses import encoder, parse_addresses
from sending_app.exceptions import InvalidAddress
from sending_app.mail import MOST_SCOPE
from sending_app.models import Suppression
from sending_app.suppression.record import Word, record_words
from sending_app.suppression.scopes import GROUP

Reason = Suppression.Reason

#: Between the last word about a row and the word of the operator, who knows the row. SendGrid's clock may be
#: ahead of the database's.
_LATER = timedelta(microseconds=1)


def using() -> str:
    """The database that keeps the suppressions."""
    return router.db_for_write(Suppression)


def in_force(database: str) -> Q:
    """The suppressions that hold now."""
    return Q(active=True) & (Q(until=None) | Q(until__gt=sql_now(database)))


def storable_address(text: str) -> str:
    """The form in which recipients and suppressions have the address. Raises InvalidAddress."""
    setting = conf.SENDGRID_IDNA_ENCODER.get() or conf.IDNA_ENCODER.get()
    mailboxes = parse_addresses([text], "the list", encoder(setting))
    if len(mailboxes) != 1:
        raise InvalidAddress(f"Write one address in place of {text!r}.")
    return comparable(mailboxes[0].wire)


def storable_scope(text: str) -> str:
    """The scope. Raises ValueError for a text that no mail can have as its scope."""
    scope = text.strip()
    if len(scope) > MOST_SCOPE or not scope.isprintable():
        raise ValueError(f"A scope is a name of up to {MOST_SCOPE} printable characters, such as news.")
    if scope.startswith(GROUP) and not re.fullmatch(r"[0-9]+", scope.removeprefix(GROUP), re.ASCII):
        raise ValueError(f"After {GROUP} stands the number of an unsubscribe group at SendGrid.")
    return scope


def suppress(
    addresses: Iterable[str],
    reason: Suppression.Reason,
    scope: str = "",
    until: datetime | None = None,
) -> int:
    """Suppress the addresses from now on, and return the number of rows written.

    Raises InvalidAddress, and ValueError for another unusable value, before any write.
    """
    database = using()
    storable = {storable_address(text) for text in addresses}
    scope = storable_scope(scope)
    now = database_now(database)
    if until is not None and until <= now:
        raise ValueError("The end must lie in the future.")
    with transaction.atomic(using=database):
        rows = Suppression.objects.using(database).filter(address__in=storable, scope=scope, reason=reason)
        known = {row.address: row for row in _locked(rows)}
        return record_words(
            (
                Word(
                    address=address,
                    scope=scope,
                    reason=reason,
                    at=_after(known.get(address), now),
                    until=until,
                    source=Suppression.Source.OPERATOR,
                )
                for address in storable
            ),
            database,
        )


def removable(pks: Sequence[int]) -> "QuerySet[Suppression]":
    """The suppressions that `remove` would end."""
    return Suppression.objects.filter(in_force(using()), pk__in=pks)


def remove(pks: Sequence[int], operator: Operator = BY_HAND) -> Counter[str]:
    """End suppressions. Only a newer event or word begins them again. Counts `removed` rows."""
    database = using()
    with transaction.atomic(using=database):
        rows = _locked(removable(pks))
        now = database_now(database)
        removed = record_words(
            (
                Word(
                    address=row.address,
                    scope=row.scope,
                    reason=Reason(row.reason),
                    active=False,
                    at=_after(row, now),
                    source=Suppression.Source.OPERATOR,
                )
                for row in rows
            ),
            database,
        )
        operator.record([row.pk for row in rows])
    return Counter(removed=removed)


def _locked(rows: "QuerySet[Suppression]") -> list[Suppression]:
    # In the order of `record_words`: workers that lock rows in different orders deadlock.
    return list(rows.select_for_update().order_by("address", "scope", "reason"))


def _after(row: Suppression | None, now: datetime) -> datetime:
    return now if row is None else max(now, row.decided_at + _LATER)
