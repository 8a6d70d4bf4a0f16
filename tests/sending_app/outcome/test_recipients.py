"""A recipient's status is the same for every order of events."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.signals import EventType, TrackingEvent
from sending_app import outbox
from sending_app.models import Mail, Recipient
from sending_app.outcome import recipients
from sending_app.outcome.recipients import ENGAGEMENT_TIMES, FAILED, RANKED_STATUSES, RecipientUpdate
from tests.support.examples import examples
from tests.support.sending.mail_events import EVENT_TIME, normalized_event, stored_recipients
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOW = datetime(2026, 8, 1, tzinfo=UTC)

#: A kind of event for each thing that moves a recipient, and some that move nothing.
KINDS: tuple[str, ...] = (
    "processed",
    "deferred",
    "delivered",
    "dropped",
    "bounce",
    "blocked",
    "open",
    "click",
    "spamreport",
)
KINDS += ("unsubscribe", "group_unsubscribe", "group_resubscribe", "teleported")

happened = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), min_size=1, max_size=8)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(EVENT_TIME + seconds, UTC)


def hear(database: str, *events: TrackingEvent, pk: int | None = None) -> None:
    """Apply all events in one batch."""
    moved = RecipientUpdate()
    for one in events:
        moved.apply(one, NOW)
    with transaction.atomic(using=database):
        recipients.apply_updates({pk or stored_recipients()[0].pk: moved}, database)


def row(recipient: Recipient) -> dict[str, Any]:
    """The columns of a recipient that may change."""
    recipient.refresh_from_db()
    names = ("status", "rank", "status_at", "reject_reason", *ENGAGEMENT_TIMES.values())
    return {name: getattr(recipient, name) for name in names}


def test_a_new_recipient_is_queued(database: str) -> None:
    put_in_outbox()
    assert (stored_recipients()[0].status, stored_recipients()[0].rank) == ("queued", 0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("processed", ("queued", "")),
        ("deferred", ("deferred", "")),
        ("delivered", ("delivered", "")),
        ("dropped", ("rejected", "spam")),
        ("bounce", ("bounced", "bounced")),
        ("blocked", ("bounced", "blocked")),
    ],
)
def test_a_delivery_event_moves_the_recipient_status(
    database: str, kind: str, expected: tuple[str, str]
) -> None:
    put_in_outbox()
    hear(database, normalized_event(kind, stored_recipients()[0], 5))
    (moved,) = stored_recipients()
    assert (moved.status, moved.reject_reason) == expected
    assert moved.status_at == at(5)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("open", "opened_at"),
        ("click", "clicked_at"),
        ("spamreport", "complained_at"),
        ("unsubscribe", "unsubscribed_at"),
        ("group_unsubscribe", "unsubscribed_at"),
    ],
)
def test_opens_clicks_complaints_and_unsubscribes_set_a_time_beside_the_status(
    database: str, kind: str, moment: str
) -> None:
    put_in_outbox()
    hear(
        database,
        normalized_event("delivered", stored_recipients()[0], 1),
        normalized_event(kind, stored_recipients()[0], 7),
    )
    found = row(stored_recipients()[0])
    assert (found["status"], found[moment]) == ("delivered", at(7))
    assert [name for name in ENGAGEMENT_TIMES.values() if found[name]] == [moment]


@pytest.mark.parametrize("kind", ["teleported", "group_resubscribe"])
def test_other_events_do_not_change_a_recipient(database: str, kind: str) -> None:
    put_in_outbox()
    before = row(stored_recipients()[0])
    hear(database, normalized_event(kind, stored_recipients()[0]))
    assert row(stored_recipients()[0]) == before


def test_status_ranks_ascend_and_exceed_our_own_statuses() -> None:
    assert [standing.rank for standing in RANKED_STATUSES.values()] == [2, 3, 4, 5, 6]
    assert (
        recipients.QUEUED_HERE.rank
        < FAILED.rank
        < min(standing.rank for standing in RANKED_STATUSES.values())
    )
    assert RANKED_STATUSES[EventType.BOUNCED].rank > RANKED_STATUSES[EventType.DELIVERED].rank


def test_a_bounce_wins_over_a_later_delivery(database: str) -> None:
    put_in_outbox()
    hear(database, normalized_event("bounce", stored_recipients()[0], 1))
    hear(database, normalized_event("delivered", stored_recipients()[0], 9))
    found = row(stored_recipients()[0])
    assert (found["status"], found["status_at"], found["reject_reason"]) == ("bounced", at(1), "bounced")


def test_the_status_time_is_that_of_the_first_event_of_its_kind(database: str) -> None:
    put_in_outbox()
    hear(
        database,
        normalized_event("deferred", stored_recipients()[0], 9),
        normalized_event("deferred", stored_recipients()[0], 4),
    )
    assert row(stored_recipients()[0])["status_at"] == at(4)
    hear(database, normalized_event("deferred", stored_recipients()[0], 2))
    hear(database, normalized_event("deferred", stored_recipients()[0], 3))
    assert row(stored_recipients()[0])["status_at"] == at(2)


def test_an_event_without_a_valid_timestamp_gets_the_received_time(database: str) -> None:
    put_in_outbox()
    hear(
        database,
        normalized_event("delivered", stored_recipients()[0], timestamp="noon"),
        normalized_event("open", stored_recipients()[0], timestamp=None),
    )
    found = row(stored_recipients()[0])
    assert (found["status"], found["status_at"], found["opened_at"]) == ("delivered", NOW, NOW)


@hypothesis_settings(max_examples=examples(50), suppress_health_check=list(HealthCheck))
@given(events=happened, data=st.data())
def test_the_recipient_status_is_independent_of_order_batches_and_duplicates(
    database: str, events: list[tuple[str, int]], data: st.DataObject
) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    one, other = stored_recipients()[-2:]
    made = [normalized_event(kind, one, seconds) for kind, seconds in events]
    hear(database, *made, pk=one.pk)
    again = data.draw(st.lists(st.sampled_from(made), max_size=4))
    order = data.draw(st.permutations(made + again))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    last = row(other)
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        hear(database, *order[start:end], pk=other.pk)
        assert row(other)["rank"] >= last["rank"]
        last = row(other)
    assert row(one) == last


@pytest.mark.parametrize("kinds", [("bounce", "blocked"), ("blocked", "bounce")])
@pytest.mark.parametrize("together", [True, False])
def test_of_two_reasons_in_one_second_the_same_wins_in_either_order(
    database: str, kinds: tuple[str, str], together: bool
) -> None:
    put_in_outbox()
    events = [normalized_event(kind, stored_recipients()[0], 1) for kind in kinds]
    for batch in [events] if together else [[event] for event in events]:
        hear(database, *batch)
    assert row(stored_recipients()[0])["reject_reason"] == "blocked"


def test_an_unchanged_recipient_is_not_written(database: str) -> None:
    put_in_outbox()
    events = [normalized_event(kind, stored_recipients()[0]) for kind in ("bounce", "open")]
    hear(database, *events)
    written: list[int] = []

    def execute(call: Callable[..., Any], statement: str, params: Any, many: bool, context: Any) -> Any:
        result = call(statement, params, many, context)
        if "UPDATE" in statement and "FOR UPDATE" not in statement:
            written.append(context["cursor"].rowcount)
        return result

    with connections[database].execute_wrapper(execute):
        hear(database, *events)
    assert set(written) == {0}


def test_many_recipients_are_moved_at_once(database: str) -> None:
    put_in_outbox(mail(*(f"{number}@example.com" for number in range(10))))
    moves = {}
    for number, one in enumerate(reversed(stored_recipients())):
        moves[one.pk] = RecipientUpdate()
        moves[one.pk].apply(normalized_event("delivered" if number % 2 else "open", one, number), NOW)
    with CaptureQueriesContext(connections[database]) as queries, transaction.atomic(using=database):
        recipients.apply_updates(moves, database)
    assert sum("UPDATE sending_app_recipient" in query["sql"] for query in queries) == 1
    found = list(reversed(stored_recipients()))
    assert [one.status for one in found] == ["queued", "delivered"] * 5
    assert [one.opened_at or one.status_at for one in found] == [at(number) for number in range(10)]


def test_moving_no_recipients_runs_no_query(database: str) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        recipients.apply_updates({}, database)
    assert len(queries) == 0


# Given up


def test_recipients_of_a_failed_mail_are_failed(database: str) -> None:
    put_in_outbox()
    put_in_outbox(mail("bob@example.com", "eve@example.com"))
    other, *ours = stored_recipients()
    recipients.mark_failed(Mail.objects.get(pk=ours[0].mail_id))
    assert [one.status for one in stored_recipients(ours[0].mail)] == ["failed", "failed"]
    assert row(other)["status"] == "queued"


def test_event_feedback_wins_over_a_failed_mail(database: str) -> None:
    put_in_outbox()
    hear(database, normalized_event("processed", stored_recipients()[0]))
    recipients.mark_failed(only_part())
    assert row(stored_recipients()[0])["status"] == "queued"


def test_event_feedback_replaces_a_failed_status(database: str) -> None:
    put_in_outbox()
    recipients.mark_failed(only_part())
    hear(database, normalized_event("open", stored_recipients()[0]))
    assert row(stored_recipients()[0])["status"] == "failed"
    hear(database, normalized_event("processed", stored_recipients()[0]))
    assert row(stored_recipients()[0])["status"] == "queued"


def test_a_recipient_status_is_never_lowered(database: str) -> None:
    """Every write of a status is conditional: no worker saves a whole recipient."""
    put_in_outbox()
    hear(
        database,
        normalized_event("delivered", stored_recipients()[0]),
        normalized_event("open", stored_recipients()[0], 3),
    )
    before = row(stored_recipients()[0])
    recipients.mark_failed(only_part())
    recipients.requeue(only_part())
    hear(
        database,
        normalized_event("deferred", stored_recipients()[0]),
        normalized_event("open", stored_recipients()[0], 8),
    )
    assert row(stored_recipients()[0]) == before
    assert only_part().recipients.using(outbox.using()).count() == 1


def test_recipients_of_a_retried_mail_are_queued_again(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    one, other = stored_recipients()
    hear(database, normalized_event("bounce", one), pk=one.pk)
    recipients.mark_failed(only_part())
    assert row(other)["status"] == "failed"
    recipients.requeue(only_part())
    assert (row(one)["status"], row(other)["status"]) == ("bounced", "queued")
    assert row(other)["rank"] == 0


def test_events_of_extreme_times_are_stored(database: str) -> None:
    put_in_outbox()
    hear(
        database,
        normalized_event("open", stored_recipients()[0], timestamp=0),
        normalized_event("delivered", stored_recipients()[0], 5),
    )
    hear(database, normalized_event("click", stored_recipients()[0], timestamp=253_402_300_799_000))
    found = row(stored_recipients()[0])
    assert found["opened_at"] == datetime.fromtimestamp(0, UTC)
    assert found["clicked_at"] - found["opened_at"] > timedelta(days=300_000)
