"""Counts mails for charts: accepted recipients by hour, and the seconds from acceptance to delivery."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import TruncHour
from django.utils import timezone

from events_app.shared.database import database_now, lock_writes
from events_app.shared.hourly import Counts, hour_near, hour_of, record_counts, replace
from sending_app import conf
from sending_app.models import LATENCY, SENT, HourlyCount, Mail, UnfoldedCounts

#: The label of a series without labels.
ALL = ""

#: The upper bounds of the latencies, in seconds, and the label of longer ones.
BOUNDS, LONGER = (1, 5, 15, 60, 300, 900, 3600), "more"


def count_sent(hours: int | None, database: str) -> int:
    """Count the recipients of mails that SendGrid accepted in this hour and in `hours` hours before.

    None: in all hours. Hours keep their counts if retention may have removed some of their mails. Return the
    number of recipients. Raises a database error.
    """
    with transaction.atomic(using=database):
        lock_writes(HourlyCount, database)
        now = database_now(database)
        since = 0 if hours is None else hour_of(now) - hours
        if (days := conf.RETENTION_DAYS.get()) is not None:
            since = max(since, hour_of(now - timedelta(days=days)) + 1)
        start = datetime.fromtimestamp(since * 3600, UTC)
        accepted = Mail.objects.using(database).filter(accepted_at__gte=start).order_by()
        by_hour = accepted.values_list(TruncHour("accepted_at", tzinfo=UTC)).annotate(Sum("recipient_count"))
        counts: Counts = Counter({(SENT.name, hour_of(hour), ALL): number for hour, number in by_hour})
        replace(UnfoldedCounts, [SENT.name], since, counts, database)
    return counts.total()


def record_latencies(times: Sequence[tuple[datetime, datetime]], database: str) -> None:
    """Record the latencies of recipients: pairs of the time of acceptance and that of delivery.

    Call this in the transaction that marks the recipients as delivered.
    """
    counts: Counts = Counter()
    now = timezone.now()
    for accepted_at, delivered_at in times:
        # Below zero if the clocks of the two servers disagree.
        place = bisect_left(BOUNDS, (delivered_at - accepted_at).total_seconds())
        label = str(BOUNDS[place]) if place < len(BOUNDS) else LONGER
        counts[LATENCY.name, hour_near(delivered_at, now), label] += 1
    record_counts(UnfoldedCounts, counts, database)
