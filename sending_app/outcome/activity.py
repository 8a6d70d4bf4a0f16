"""Webhook activity: when events of an account's mails reached the webhook.

Time is divided into buckets of a few seconds. A row is a bucket in which at least one event of an account
came. The rows prove that SendGrid's posts got through. A lost row loses no event; an unknown mail may be
parked instead of sent again.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

from django.db import DatabaseError, InterfaceError, transaction

from sending_app import conf
from sending_app.models import WebhookActivity
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: `known_buckets` above this size is emptied.
MAX_REMEMBERED = 10_000

#: An account, and the beginning of a bucket: seconds since 1970.
_Bucket: TypeAlias = tuple[str, int]

#: Buckets that this process knows to be written. Most events fall into such a bucket.
known_buckets: set[_Bucket] = set()


def bucket_length() -> timedelta:
    """Length of a bucket: a hundredth of the wait for events, a twentieth of the shortest gap that counts.

    At least a second. So a wait of a few seconds proves nothing, and unknown mails are parked.
    """
    return timedelta(seconds=max(1, conf.UNKNOWN_WAIT.get() // 100))


def record(arrivals: Iterable[tuple[str, datetime]]) -> None:
    """Write the buckets of these accounts and times after the commit."""
    length = bucket_length() // timedelta(seconds=1)
    buckets = {(account, int(at.timestamp()) // length * length) for account, at in arrivals if account}
    if new := buckets - known_buckets:
        # Inside the transaction, drains that write the same bucket would wait for each other.
        transaction.on_commit(partial(_write, sorted(new)), using=using(), robust=True)


def _write(buckets: Sequence[_Bucket]) -> None:
    rows = [
        WebhookActivity(account=account, at=datetime.fromtimestamp(second, UTC))
        for account, second in buckets
    ]
    try:
        WebhookActivity.objects.bulk_create(rows, ignore_conflicts=True)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Could not record webhook activity (%d rows): %s", len(rows), type(error).__name__)
        return
    if len(known_buckets) > MAX_REMEMBERED:
        known_buckets.clear()
    known_buckets.update(buckets)


def silence(
    account: str, since: datetime, until: datetime, longest: timedelta
) -> tuple[datetime, datetime] | None:
    """The first gap between `since` and `until` without an event for longer than `longest`.

    All times are by the clock of Redis.
    """
    length = bucket_length()
    rows = WebhookActivity.objects.filter(account=account, at__gt=since - length, at__lt=until)
    return first_gap(list(rows.order_by("at").values_list("at", flat=True)), length, since, until, longest)


def first_gap(
    buckets: Iterable[datetime], length: timedelta, since: datetime, until: datetime, longest: timedelta
) -> tuple[datetime, datetime] | None:
    """The first gap between two buckets that may be longer than `longest`. `buckets` are in order.

    An event may have come at any moment of a bucket. So a gap is measured from the beginning of a bucket
    to the end of the next; the returned period surely had no event.
    """
    last = silent_from = since
    for at in buckets:
        if at + length - last > longest:
            return silent_from, at
        last, silent_from = max(last, at), at + length
    return (silent_from, until) if until - last > longest else None


def remove_old_activity(before: datetime) -> None:
    """Remove older rows."""
    WebhookActivity.objects.filter(at__lt=before).delete()
