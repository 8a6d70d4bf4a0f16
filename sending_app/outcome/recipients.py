"""The delivery status of recipients. Tracking events move the status, in any order of arrival.

A status has a rank, and the rank only climbs: a later step of a delivery wins, even if its event arrives
first. Engagement (opened, clicked, complained, unsubscribed) is stored as separate times.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from events_app.shared.counting import count
from events_app.shared.database import AnyOf
from events_app.signals import EventType, TrackingEvent
from sending_app import counters, outbox, sql
from sending_app.encryption import Undecryptable
from sending_app.hourly_counts import record_latencies
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.screening import LeftOut, addresses_of


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

_DELIVERED = RANKED_STATUSES[EventType.DELIVERED]

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
    #: When SendGrid accepted the mail, as far as known before the events.
    accepted_at: datetime | None = None

    def apply(self, event: TrackingEvent, received_at: datetime) -> None:
        at = event.timestamp or received_at
        ranked = RANKED_STATUSES.get(event.event_type)
        reason = event.reject_reason or ""
        # Among events of equal rank the earliest wins. Within a second the reason decides, so that the order
        # of arrival does not. `sql.move_recipients` compares by the same rule.
        if ranked and (
            ranked.rank > self.ranked.rank
            or (ranked.rank == self.ranked.rank and (at, reason) < (self.status_at or at, self.reject_reason))
        ):
            self.ranked, self.status_at, self.reject_reason = ranked, at, reason
        if column := ENGAGEMENT_TIMES.get(event.event_type):
            self.engagement_times[column] = min(at, self.engagement_times.get(column, at))


def _reached(update: RecipientUpdate, rank: int, times: Sequence[datetime | None]) -> Iterator[str]:
    """The statuses and engagements that are new to a recipient with this rank and these engagement times."""
    if update.ranked.rank > rank:
        yield update.ranked.status
    for (engagement, column), before in zip(ENGAGEMENT_TIMES.items(), times, strict=True):
        if before is None and column in update.engagement_times:
            yield engagement.value


def _count_after_commit(reached: Mapping[str, int], database: str) -> None:
    def count_all() -> None:
        for status, number in reached.items():
            count(counters.RECIPIENT_STATUSES, status, by=number)

    transaction.on_commit(count_all, using=database, robust=True)


def mark_failed(mail: Mail, message_ids: Sequence[UUID] | None = None) -> None:
    """Mark the mail's recipients, or those of these ids, as failed, unless an event has set a status."""
    recipients = Recipient.objects.filter(mail=mail, rank__lt=FAILED.rank)
    if message_ids is not None:
        recipients = recipients.filter(AnyOf("message_id", message_ids))
    failed = recipients.update(status=FAILED.status, rank=FAILED.rank)
    _count_after_commit({FAILED.status: failed}, using())


def mark_rejected(left_out: Iterable[LeftOut], at: datetime, database: str) -> None:
    """Mark recipients who are left out of a mail as rejected, unless an event has set a further status."""
    by_id: dict[UUID, dict[str, str]] = {}
    for recipient in left_out:
        by_id.setdefault(UUID(recipient.personalization.id), {})[recipient.address] = recipient.reason
    rows = Recipient.objects.using(database).filter(AnyOf("message_id", list(by_id)))
    updates = {
        pk: RecipientUpdate(RANKED_STATUSES[EventType.REJECTED], at, by_id[message_id][address])
        for pk, message_id, address in rows.values_list("pk", "message_id", "address")
        if address in by_id[message_id]
    }
    apply_updates(updates, database)


def requeue_rejected(mail: Mail) -> None:
    """Undo `mark_rejected` for the recipients that a rejected mail still has: the mail is due again.

    For all its rejected recipients, if its content cannot be read.
    """
    if mail.personalizations is None:
        return
    rejected = Recipient.objects.filter(mail=mail, rank=RANKED_STATUSES[EventType.REJECTED].rank)
    # With the key back, the lease must look at everybody whom the mail has.
    with suppress(msgspec.MsgspecError, Undecryptable, ImproperlyConfigured):
        kept = {
            (UUID(personalization.id), address)
            for personalization in outbox.personalizations_of(mail)
            for address in addresses_of([personalization])
        }
        rows = rejected.values_list("pk", "message_id", "address")
        rejected = Recipient.objects.filter(AnyOf("pk", [row[0] for row in rows if row[1:] in kept]))
    rejected.update(status=QUEUED_HERE.status, rank=QUEUED_HERE.rank, status_at=None, reject_reason="")


def requeue(mail: Mail | int) -> None:
    """Undo `mark_failed`: the mail is due again, or SendGrid has the mail after all."""
    recipients = Recipient.objects.filter(mail=mail, rank=FAILED.rank)
    recipients.update(status=QUEUED_HERE.status, rank=QUEUED_HERE.rank)


def apply_updates(updates: dict[int, RecipientUpdate], database: str) -> None:
    """Apply updates, by primary key, to the recipients that an update moves forward."""
    if not updates:
        return
    # In order, like every multi-row write: workers that lock rows in different orders deadlock.
    locked = Recipient.objects.using(database).filter(AnyOf("pk", list(updates))).order_by("pk")
    before = locked.select_for_update().values_list("pk", "rank", *ENGAGEMENT_TIMES.values())
    reached: Counter[str] = Counter()
    latencies: list[tuple[datetime, datetime]] = []
    for pk, rank, *times in before:
        update = updates[pk]
        reached.update(_reached(update, rank, times))
        if update.ranked == _DELIVERED and rank < _DELIVERED.rank and update.accepted_at and update.status_at:
            latencies.append((update.accepted_at, update.status_at))
    record_latencies(latencies, database)
    _count_after_commit(reached, database)
    sql.move_recipients(
        database,
        [
            {
                "id": pk,
                "rank": update.ranked.rank,
                "status": update.ranked.status,
                "status_at": update.status_at,
                "reject_reason": update.reject_reason,
                **update.engagement_times,
            }
            for pk, update in updates.items()
        ],
    )
