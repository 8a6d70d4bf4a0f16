"""The delivery status of recipients. Tracking events move the status, in any order of arrival.

A status has a rank, and the rank only climbs: a later step of a delivery wins, even if its event arrives
first. Engagement (opened, clicked, complained, unsubscribed) is stored as separate times.
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
    """A status and its rank in the course of a delivery."""

    status: str
    rank: int


#: Not known to be with SendGrid. The status of new rows.
QUEUED_HERE = RankedStatus("queued", 0)

#: The mail failed. Any event ranks higher, as an event proves that SendGrid has the mail.
FAILED = RankedStatus("failed", 1)

#: In climbing order. A bounce can follow a delivery hours later (asynchronous bounce), and a mail that is
#: deferred for days ends as a bounce. Of a mail sent twice, the sender must know the worse result.
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
    """The combined effect of several events on a recipient."""

    ranked: RankedStatus = QUEUED_HERE
    status_at: datetime | None = None
    reject_reason: str = ""
    engagement_times: dict[str, datetime] = field(default_factory=dict)

    def apply(self, event: TrackingEvent, now: datetime) -> None:
        at = event.timestamp or now
        ranked = RANKED_STATUSES.get(event.event_type)
        reason = event.reject_reason or ""
        if ranked and self._is_outranked(ranked.rank, at, reason):
            self.ranked, self.status_at, self.reject_reason = ranked, at, reason
        if column := ENGAGEMENT_TIMES.get(event.event_type):
            self.engagement_times[column] = min(at, self.engagement_times.get(column, at))

    def _is_outranked(self, rank: int, at: datetime, reason: str) -> bool:
        # Among events of equal rank the earliest wins. Within a second the reason decides, so that the order
        # of arrival does not.
        if rank != self.ranked.rank or self.status_at is None:
            return rank > self.ranked.rank
        return (at, reason) < (self.status_at, self.reject_reason)


def mark_failed(mail: Mail) -> None:
    """Mark the mail's recipients as failed, unless an event has set a status."""
    recipients = Recipient.objects.using(using()).filter(mail=mail, rank__lt=FAILED.rank)
    recipients.update(status=FAILED.status, rank=FAILED.rank)


def requeue(mail: Mail | int) -> None:
    """Undo `mark_failed`: the mail is due again, or SendGrid has the mail after all."""
    recipients = Recipient.objects.using(using()).filter(mail=mail, rank=FAILED.rank)
    recipients.update(status=QUEUED_HERE.status, rank=QUEUED_HERE.rank)


def apply_updates(recipients: dict[int, RecipientUpdate], database: str) -> None:
    """Apply updates, by primary key, to the recipients that an update moves forward."""
    if not recipients:
        return
    connection = connections[database]
    if connection.vendor == "postgresql":
        # In order, like every multi-row write: workers that lock rows in different orders deadlock.
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
    """A query that turns a JSON array of objects, its only parameter, into rows. `types` are PostgreSQL's.

    A single parameter, as quoting every value costs more than the update.
    """
    if connection.vendor == "postgresql":
        columns = ", ".join(f"{name} {column_type}" for name, column_type in types.items())
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
    # Rows without a change are not written.
    earlier = " OR ".join(
        f"new.{name} < {table}.{name} OR (new.{name} IS NOT NULL AND {table}.{name} IS NULL)"
        for name in ENGAGEMENT_TIMES.values()
    )
    return (
        f"WITH new AS ({rows_of(connection, _TYPES)}) "  # noqa: S608
        f"UPDATE {table} SET {climbs}, {firsts} FROM new "
        f"WHERE {table}.id = new.pk AND ({beyond} OR {earlier})"
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
