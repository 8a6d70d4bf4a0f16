"""Where each recipient has got to. Tracking events move it, in whatever order they come.

Delivery climbs by rank and never falls: what came later counts for more, whenever it is heard of. What
people do with a mail (open it, complain of it) are moments of their own beside that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from events_app.shared.database import AnyOf
from events_app.signals import EventType, TrackingEvent
from sending_app.models import Mail, Recipient
from sending_app.outbox import using


class RankedStatus(NamedTuple):
    """A status and how far it is along."""

    status: str
    rank: int


#: Not handed to SendGrid, as far as we know. New rows have it.
QUEUED_HERE = RankedStatus("queued", 0)

#: Given up here. Below all that SendGrid says: an event shows that it has the mail after all.
FAILED = RankedStatus("failed", 1)

#: Each beats those before it. A bounce can follow a delivery (an asynchronous one, hours later), and a
#: mail that is deferred for days ends as a bounce. Where a mail went out twice, the worst that came of it
#: is what its sender has to know.
RANKED_STATUSES = {
    EventType.QUEUED: RankedStatus("queued", 2),
    EventType.DEFERRED: RankedStatus("deferred", 3),
    EventType.DELIVERED: RankedStatus("delivered", 4),
    EventType.REJECTED: RankedStatus("rejected", 5),
    EventType.BOUNCED: RankedStatus("bounced", 6),
}

ENGAGEMENT_TIMES = {
    EventType.OPENED: "opened_at",
    EventType.CLICKED: "clicked_at",
    EventType.COMPLAINED: "complained_at",
    EventType.UNSUBSCRIBED: "unsubscribed_at",
}


@dataclass(slots=True)
class RecipientUpdate:
    """What some events say of one recipient."""

    ranked: RankedStatus = QUEUED_HERE
    status_at: datetime | None = None
    reject_reason: str = ""
    engagement_times: dict[str, datetime] = field(default_factory=dict)

    def apply(self, event: TrackingEvent, now: datetime) -> None:
        at = event.timestamp or now
        ranked = RANKED_STATUSES.get(event.event_type)
        reason = event.reject_reason or ""
        if ranked and self._is_less_than(ranked.rank, at, reason):
            self.ranked, self.status_at, self.reject_reason = ranked, at, reason
        moment = ENGAGEMENT_TIMES.get(event.event_type)
        if moment:
            self.engagement_times[moment] = min(at, self.engagement_times.get(moment, at))

    def _is_less_than(self, rank: int, at: datetime, reason: str) -> bool:
        # Of several events of one rank the first to happen gave the status. The reason is for two of one
        # second, so that it is the same whichever is heard of first.
        if rank != self.ranked.rank or self.status_at is None:
            return rank > self.ranked.rank
        return (at, reason) < (self.status_at, self.reject_reason)


def fail(mail: Mail) -> None:
    """The mail is given up; what an event has said of a recipient stands."""
    recipients = Recipient.objects.using(using()).filter(mail=mail, rank__lt=FAILED.rank)
    recipients.update(status=FAILED.status, rank=FAILED.rank)


def requeue(mail: Mail | int) -> None:
    """The mail is to be sent after all, or was; what an event has said of a recipient stands."""
    recipients = Recipient.objects.using(using()).filter(mail=mail, rank=FAILED.rank)
    recipients.update(status=QUEUED_HERE.status, rank=QUEUED_HERE.rank)


def apply_updates(recipients: dict[int, RecipientUpdate], database: str) -> None:
    """Update recipients, by their primary key, where the updates go beyond what they have."""
    if not recipients:
        return
    connection = connections[database]
    if connection.vendor == "postgresql":
        # In order, as every multi-row write: two workers that took the rows crosswise would deadlock.
        locked = Recipient.objects.using(database).filter(AnyOf("pk", list(recipients))).order_by("pk")
        list(locked.select_for_update().values_list("pk"))
    with connection.cursor() as cursor:
        cursor.execute(_update(connection), [_rows(connection, recipients)])


_TYPES = {
    "pk": "bigint",
    "rank": "smallint",
    "status": "varchar",
    "status_at": "timestamptz",
    "reject_reason": "varchar",
    **dict.fromkeys(ENGAGEMENT_TIMES.values(), "timestamptz"),
}


def rows_of(connection: BaseDatabaseWrapper, types: Mapping[str, str]) -> str:
    """A query whose rows are those of a JSON array of objects, its only parameter. `types` are PostgreSQL's.

    One parameter, whatever the number of rows: to quote each value by itself costs more than an update.
    """
    if connection.vendor == "postgresql":
        columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
        return f"SELECT * FROM json_to_recordset(%s) AS new ({columns})"  # noqa: S608 (our own column names)
    columns = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in types)
    return f"SELECT {columns} FROM json_each(%s)"  # noqa: S608


def _update(connection: BaseDatabaseWrapper) -> str:
    table = connection.ops.quote_name(Recipient._meta.db_table)
    beyond = (
        f"(new.rank > {table}.rank OR new.rank = {table}.rank AND (new.status_at < {table}.status_at OR "
        f"new.status_at = {table}.status_at AND new.reject_reason < {table}.reject_reason))"
    )
    climbs = ", ".join(
        f"{name} = CASE WHEN {beyond} THEN new.{name} ELSE {table}.{name} END"
        for name in ("rank", "status", "status_at", "reject_reason")
    )
    firsts = ", ".join(
        f"{name} = COALESCE(CASE WHEN new.{name} < {table}.{name} THEN new.{name} ELSE {table}.{name} END, "
        f"new.{name})"
        for name in ENGAGEMENT_TIMES.values()
    )
    # A row that would stay as it is is not written.
    news = " OR ".join(
        f"new.{name} < {table}.{name} OR (new.{name} IS NOT NULL AND {table}.{name} IS NULL)"
        for name in ENGAGEMENT_TIMES.values()
    )
    return (
        f"WITH new AS ({rows_of(connection, _TYPES)}) "  # noqa: S608
        f"UPDATE {table} SET {climbs}, {firsts} FROM new "
        f"WHERE {table}.id = new.pk AND ({beyond} OR {news})"
    )


def _rows(connection: BaseDatabaseWrapper, recipients: dict[int, RecipientUpdate]) -> str:
    adapt = connection.ops.adapt_datetimefield_value
    rows = [
        {
            "pk": pk,
            "rank": update.ranked.rank,
            "status": update.ranked.status,
            "status_at": adapt(update.status_at),
            "reject_reason": update.reject_reason,
            **{name: adapt(at) for name, at in update.engagement_times.items()},
        }
        for pk, update in recipients.items()
    ]
    return msgspec.json.encode(rows).decode()
