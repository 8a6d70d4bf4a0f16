"""Accepted recipients and the seconds to their delivery are counted for charts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from events_app.shared import hourly, redis
from events_app.shared.database import database_now
from events_app.shared.hourly import hour_of, read, record_counts, top
from sending_app import tasks
from sending_app.hourly_counts import count_sent
from sending_app.models import HourlyCount, Mail, OutboxMessage, UnfoldedCounts
from tests.support.commands import output_of
from tests.support.databases import on_postgresql
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture
def now(database: str) -> datetime:
    return database_now(database)


def accepted(at: datetime, *to: str) -> Mail:
    """A mail that SendGrid accepted at that time."""
    put_in_outbox(mail(*to))
    newest = all_parts()[-1]
    Mail.objects.filter(pk=newest.pk).update(state="accepted", accepted_at=at, finished_at=at)
    OutboxMessage.objects.filter(pk=newest.message_id).update(created_at=at)
    return newest


def sent(now: datetime) -> list[int]:
    return [number for _, _, number in read("sent", now - timedelta(days=400), now + HOUR)]


def hour_start(at: datetime) -> datetime:
    return datetime.fromtimestamp(hour_of(at) * 3600, UTC)


# Sent


def test_recipients_of_accepted_mails_are_counted_by_hour(database: str, now: datetime) -> None:
    accepted(now, "ann@example.com", "ben@example.com")
    accepted(now)
    accepted(now - HOUR)
    accepted(now - 2 * HOUR)
    put_in_outbox()
    assert count_sent(1, database) == 4
    expected = [(hour_start(now - HOUR), "", 1), (hour_start(now), "", 3)]
    assert read("sent", now - 9 * HOUR, now + HOUR) == expected
    count_sent(1, database)
    assert read("sent", now - 9 * HOUR, now + HOUR) == expected
    count_sent(2, database)
    assert sent(now) == [1, 1, 3]


def test_a_mail_whose_acceptance_proves_to_be_earlier_moves_to_the_earlier_hour(
    database: str, now: datetime
) -> None:
    accepted(now)
    count_sent(48, database)
    Mail.objects.update(accepted_at=now - 3 * HOUR)
    count_sent(48, database)
    assert read("sent", now - 9 * HOUR, now + HOUR) == [(hour_start(now - 3 * HOUR), "", 1)]


def test_counts_outlive_mails_that_retention_removes(
    database: str, now: datetime, anymail: Callable[..., None]
) -> None:
    accepted(now - 30 * HOUR)
    accepted(now)
    count_sent(48, database)
    anymail(OUTBOX_RETENTION_DAYS=1)
    tasks.prune_mails()
    assert Mail.objects.count() == 1
    count_sent(48, database)
    assert sent(now) == [1, 1]


def test_the_task_counts_this_hour_and_now_and_then_the_last_days(database: str, now: datetime) -> None:
    record_counts(UnfoldedCounts, hourly.Counts({("latency", hour_of(now), "1"): 2}), database)
    accepted(now)
    accepted(now - 40 * HOUR)
    redis.take_lock("sending-count-days", 60_000)
    tasks.count_mails()
    assert sent(now) == [1]
    assert not UnfoldedCounts.objects.exists()
    assert top("latency", now - HOUR, now + HOUR) == [("1", 2)]
    redis.release_lock("sending-count-days")
    tasks.count_mails()
    assert sent(now) == [1, 1]


def test_a_recount_counts_all_accepted_mails(database: str, now: datetime) -> None:
    accepted(now - timedelta(days=300))
    accepted(now)
    assert "2 accepted recipients" in output_of("outbox", "recount")
    assert sent(now) == [1, 1]


def test_the_number_of_queries_does_not_grow_with_the_mails(database: str, now: datetime) -> None:
    numbers = []
    for _ in range(2):
        for _ in range(3):
            accepted(now)
        with CaptureQueriesContext(connections[database]) as queries:
            count_sent(48, database)
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


@on_postgresql
def test_accepted_mails_are_counted_by_an_index(database: str, now: datetime) -> None:
    rows = Mail.objects.filter(accepted_at__gte=now).order_by().values_list("recipient_count")
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("DROP INDEX mail_accepted")  # of an empty table any index will do
        assert "mail_accepted_at" in rows.explain()
        transaction.set_rollback(True, using=database)


# Latency


def latencies(now: datetime) -> dict[str, int]:
    return dict(top("latency", now - 24 * HOUR, now + 2 * HOUR))


def delivered(at: datetime, number: int = -1, kind: str = "delivered") -> dict[str, object]:
    return event_payload(kind, stored_recipients()[number], timestamp=int(at.timestamp()))


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(-2, "1"), (0, "1"), (1, "1"), (2, "5"), (60, "60"), (61, "300"), (3600, "3600"), (3601, "more")],
)
def test_a_delivery_counts_under_the_upper_bound_of_its_seconds(
    database: str, now: datetime, seconds: int, label: str
) -> None:
    at = now.replace(microsecond=0) - 2 * HOUR
    accepted(at)
    receive_events(delivered(at + timedelta(seconds=seconds)))
    assert read("latency", now - 9 * HOUR, now + HOUR) == [
        (hour_start(at + timedelta(seconds=seconds)), label, 1)
    ]


def test_each_recipient_counts_once_at_its_first_delivery(database: str, now: datetime) -> None:
    accepted(now, "ann@example.com", "ben@example.com")
    receive_events(delivered(now, 0, "processed"), delivered(now, 0), delivered(now, 0))
    receive_events(delivered(now, 0), delivered(now, 0, "deferred"), delivered(now, 0, "open"))
    assert latencies(now) == {"1": 1}
    receive_events(delivered(now, 0, "bounce"), delivered(now, 0), delivered(now, 1))
    assert latencies(now) == {"1": 2}


def test_without_a_known_time_of_acceptance_a_delivery_has_no_latency(database: str, now: datetime) -> None:
    put_in_outbox()
    receive_events(delivered(now))
    assert latencies(now) == {}


def test_latencies_of_events_that_are_rolled_back_do_not_count(
    database: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(now)
    monkeypatch.setattr("sending_app.sql.move_recipients", None)  # a fault of the program
    receive_events(delivered(now))
    assert latencies(now) == {}
    assert not HourlyCount.objects.exists()
