"""Fills the database with all parts of the data, day by day."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connections, router, transaction
from django.db.models import Model

from devstack.seed import plans
from devstack.seed.customers import make_customers
from devstack.seed.deliveries import DAYS_OF_TROUBLE, DeliveryWriter
from devstack.seed.mails import DAY, MailWriter
from devstack.seed.replies import ReplyWriter
from devstack.seed.times import spread
from events_app.dispatch import event_counts
from events_app.inbound import storage
from events_app.models import Event
from events_app.shared.counters import WEBHOOK_POSTS, Reason
from events_app.shared.counting import count
from events_app.shared.hourly import record_counts
from events_app.signals import tracking, webhook_views
from sending_app import account
from sending_app.hourly_counts import count_sent
from sending_app.models import Mail, OpenCircuit, UnfoldedCounts, WebhookActivity
from sending_app.outcome.activity import bucket_length

#: Days of the data.
DAYS = 30

#: Seconds of events for which `WebhookActivity` has rows.
ACTIVITY = 2 * 3600

#: Refused posts, by webhook, status and reason.
REFUSED_POSTS = (
    ("tracking", "403", Reason.CREDENTIALS, 214),
    ("tracking", "400", Reason.MALFORMED, 3),
    ("tracking", "503", Reason.REDIS, 12),
    ("inbound", "403", Reason.CREDENTIALS, 19),
    ("inbound", "413", Reason.TOO_LARGE, 2),
)


class NotEmpty(Exception):
    """The outbox or the event table has rows."""


@dataclass(frozen=True)
class Figures:
    """Numbers of rows, by table, and seconds."""

    rows: dict[str, int]
    seconds: float


def fill(
    *, events: int, mails: int, seed: int = 1, now: datetime, report: Callable[[str], None] = lambda _: None
) -> Figures:
    """Fill the database with so many mails and about so many events of the days before `now`.

    The same arguments make the same rows, but for inbound mails and the ids of their files. Raises NotEmpty,
    and the database's errors.
    """
    began = time.perf_counter()
    using = router.db_for_write(Event)
    if Event.objects.exists() or Mail.objects.exists():
        raise NotEmpty("The database has events or mails already. Only an empty database can be filled.")
    rng = random.Random(seed)
    until = now.timestamp()
    usable = account.usable()
    fingerprint, alias = (usable[0].fingerprint, usable[0].alias) if usable else ("0" * 32, "default")
    writer = MailWriter(rng, using, until, fingerprint, alias)
    connected = [receiver.name for receiver in tracking.named_receivers(webhook_views.get("tracking"))]
    deliveries = DeliveryWriter(rng, using, until, connected)
    customers = make_customers(rng, max(mails // 2, plans.LARGEST_BATCH))
    trouble = list(plans.last_hour(rng, customers, until, waiting=max(3, mails // 1000)))
    times = spread(rng, mails - len(trouble), now - timedelta(hours=1), DAYS)

    def write(day: int) -> None:
        stored = writer.write_until(day)
        if (day + DAYS_OF_TROUBLE) * DAY > until:
            deliveries.add([pk for pk, _ in stored], max(20, events // 1000))
            deliveries.table.write()
        report(
            f"  {datetime.fromtimestamp(day * DAY, UTC):%Y-%m-%d}: "
            f"{writer.mails.written:,} mails, {writer.events.written:,} events"
        )

    with transaction.atomic(using=using), _indexes_later([table.model for table in writer.tables], using):
        day = int(times[0] // DAY)
        for plan in plans.ordinary(rng, customers, times, events, lambda: writer.event_count):
            if plan.at >= (day + 1) * DAY:
                write(day)
                day = int(plan.at // DAY)
            writer.add(plan)
        for plan in trouble:
            writer.add(plan)
        write(int(until // DAY))
    _open_circuit(fingerprint, alias, now)
    _record_activity(fingerprint, now)
    replies = ReplyWriter(rng, until)
    if storage.is_configured():
        recent = [mail for mail in writer.sent if mail.at > until - 3 * DAY]
        replies.write(recent, max(12, mails // 2500))
    _count_refusals()
    report("  counting for the charts")
    event_counts.recount()
    count_sent(None, using)
    record_counts(UnfoldedCounts, writer.latencies, using)
    _finish(writer, using)
    tables = (*writer.tables, deliveries.table)
    rows = {str(table.model._meta.verbose_name_plural): table.written for table in tables}
    return Figures({**rows, "inbound mails": replies.written}, time.perf_counter() - began)


@contextmanager
def _indexes_later(models: Sequence[type[Model]], using: str) -> Iterator[None]:
    """Make the indexes of these models after the inserts, on PostgreSQL: that takes half the time."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
        return
    indexes = [(model, index) for model in models for index in model._meta.indexes]
    with connection.schema_editor() as editor:
        for model, index in indexes:
            editor.remove_index(model, index)
    yield
    connection.check_constraints()  # PostgreSQL makes no index while checks of rows are pending
    with connection.schema_editor() as editor:
        for model, index in indexes:
            editor.add_index(model, index)


def _open_circuit(fingerprint: str, alias: str, now: datetime) -> None:
    """SendGrid limits the rate of the account, so its mails wait."""
    OpenCircuit.objects.create(
        account=fingerprint,
        alias=alias,
        opened_at=now - timedelta(minutes=4),
        probe_at=now + timedelta(minutes=10),
        failures=3,
        status_code=429,
        reason="too many requests",
    )


def _record_activity(fingerprint: str, now: datetime) -> None:
    length = int(bucket_length().total_seconds())
    last = now - timedelta(seconds=ACTIVITY)
    times = Event.objects.filter(received_at__gte=last).values_list("received_at", flat=True)
    buckets = sorted({int(at.timestamp()) // length * length for at in times})
    WebhookActivity.objects.bulk_create(
        [WebhookActivity(account=fingerprint, at=datetime.fromtimestamp(second, UTC)) for second in buckets],
        batch_size=1000,
    )


def _count_refusals() -> None:
    for webhook, status, reason, number in REFUSED_POSTS:
        count(WEBHOOK_POSTS, webhook, status, reason.value, by=number)


def _finish(writer: MailWriter, using: str) -> None:
    """Prepare the database for the next inserts and for fast lists."""
    for table in writer.tables:
        table.reset_sequence()
    connection = connections[using]
    if connection.vendor == "postgresql":  # nobody analyzes a database of SQLite
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE" if connection.in_atomic_block else "VACUUM (ANALYZE)")
