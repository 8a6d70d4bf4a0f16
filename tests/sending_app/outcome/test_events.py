"""Stored events accept mails and move recipients' statuses, in one transaction."""

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import signals
from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import Event
from events_app.shared.database import DatabaseUnavailable
from sending_app import outbox
from sending_app.models import Mail, Recipient, WebhookActivity
from sending_app.outcome import events as outcome_events
from tests.support.databases import updates_fail
from tests.support.events.stored_events import stream_entries
from tests.support.examples import examples
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.mail_events import (
    FIRST_REQUEST,
    SECOND_REQUEST,
    event_payload,
    normalized_event,
    receive_events,
    stored_recipients,
)
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State

LATER = datetime(2026, 7, 14, 12, 0, 30, tzinfo=UTC)


def be(state: Mail.State, **changes: object) -> Mail:
    """Put the only mail into this state."""
    Mail.objects.update(state=state, **changes)
    return only_part()


def take_in(*events: Any) -> None:
    with transaction.atomic(using=outbox.using()):
        outcome_events.apply_events(events, [datetime.now(UTC)] * len(events))


@pytest.mark.parametrize("state", [one for one in State if one is not State.POSTING])
def test_event_feedback_marks_a_mail_accepted_from_any_state(database: str, state: Mail.State) -> None:
    put_in_outbox()
    be(state, error="who knows")
    receive_events(event_payload("processed", stored_recipients()[0]))
    found = only_part()
    assert (found.state, found.error, found.x_message_id, found.sent_twice) == (
        "accepted",
        "",
        FIRST_REQUEST,
        False,
    )
    assert found.first_event_at is not None
    assert found.first_event_at == found.accepted_at
    assert found.finished_at is not None


def test_event_feedback_leaves_the_lease_of_a_mail_in_delivery(database: str) -> None:
    put_in_outbox()
    be(State.POSTING, attempt_token=17)
    receive_events(event_payload("processed", stored_recipients()[0]))
    found = only_part()
    assert (found.state, found.x_message_id, found.attempt_token) == ("posting", FIRST_REQUEST, 17)
    assert found.accepted_at is not None


def test_an_event_of_ours_moves_the_recipient_and_proves_nothing(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    be(State.UNKNOWN, account="account", unknown_outcomes=1)
    ann, _ = stored_recipients()
    receive_events(event_payload("dropped", ann, sendgrid_pipeline="suppressed"))
    found = only_part()
    assert (found.state, found.accepted_at, found.first_event_at) == ("unknown", None, None)
    assert [(one.status, one.reject_reason) for one in stored_recipients()] == [
        ("rejected", "spam"),
        ("queued", ""),
    ]
    assert not WebhookActivity.objects.exists()


def test_event_feedback_keeps_the_first_times(database: str) -> None:
    put_in_outbox()
    receive_events(event_payload("processed", stored_recipients()[0]))
    first = only_part()
    Mail.objects.update(accepted_at=first.created_at, finished_at=first.created_at)
    receive_events(event_payload("delivered", stored_recipients()[0]))
    found = only_part()
    assert (found.first_event_at, found.accepted_at) == (first.first_event_at, first.created_at)
    assert found.finished_at == first.created_at


def test_event_feedback_of_one_recipient_accepts_the_whole_mail(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", batch=True))
    put_in_outbox()
    ann, bob, _ = stored_recipients()
    receive_events(event_payload("delivered", ann))
    assert [one.state for one in all_parts()] == ["accepted", "waiting"]
    assert [one.status for one in stored_recipients()] == ["delivered", "queued", "queued"]
    receive_events(event_payload("bounce", bob))
    assert [one.status for one in stored_recipients()] == ["delivered", "bounced", "queued"]


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        ("Ann.Müller@Example.com", " ANN.MüLLER@example.COM"),
        ('"a..b"@docomo.example', '"a..b"@docomo.example'),
        ('"a..b"@docomo.example', "A..B@docomo.example"),
        ("o'neil@example.com", '"O\'Neil"@example.com'),
        ("groß@example.com", "GROß@example.com"),
    ],
)
def test_event_feedback_matches_any_spelling_of_an_address(database: str, sent: str, returned: str) -> None:
    put_in_outbox(mail(sent))
    receive_events(event_payload("delivered", stored_recipients()[0], email=returned))
    assert stored_recipients()[0].status == "delivered"


def test_event_feedback_tells_apart_addresses_that_differ_beyond_ascii_case(database: str) -> None:
    put_in_outbox(mail("gross@example.com", "groß@example.com"))
    receive_events(event_payload("bounce", stored_recipients()[0], email="groß@example.com"))
    assert {one.address: one.status for one in stored_recipients()} == {
        "gross@example.com": "queued",
        "groß@example.com": "bounced",
    }


@pytest.mark.parametrize("email", ["forwarded@elsewhere.example", None, 17])
def test_event_feedback_of_an_unknown_address_accepts_the_mail_and_changes_no_recipient(
    database: str, email: object
) -> None:
    put_in_outbox()
    receive_events(event_payload("delivered", stored_recipients()[0], email=email))
    assert (only_part().state, stored_recipients()[0].status) == ("accepted", "queued")


def test_two_copies_to_one_address_are_updated_separately(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", cc=["eve@example.com"], batch=True))
    eve, _ = (one for one in stored_recipients() if one.address == "eve@example.com")
    receive_events(event_payload("delivered", eve))
    assert [one.status for one in stored_recipients() if one.address == "eve@example.com"] == [
        "delivered",
        "queued",
    ]


# Accepted twice


@pytest.mark.parametrize("together", [True, False])
def test_events_of_two_requests_mark_a_mail_sent_twice(
    database: str, together: bool, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    first, second = (
        event_payload("processed", stored_recipients()[0]),
        event_payload("processed", stored_recipients()[0], base=SECOND_REQUEST),
    )
    if together:
        receive_events(first, second)
    else:
        receive_events(first)
        assert not only_part().sent_twice
        receive_events(second)
    receive_events(event_payload("delivered", stored_recipients()[0], base=SECOND_REQUEST))
    assert (only_part().sent_twice, only_part().x_message_id) == (True, FIRST_REQUEST)
    assert caplog.messages == [f"SendGrid has accepted mail {only_part().pk} twice"]


def test_an_event_of_another_request_than_the_answered_one_marks_a_mail_sent_twice(database: str) -> None:
    put_in_outbox()
    be(
        State.ACCEPTED,
        x_message_id=SECOND_REQUEST,
        first_event_at=only_part().created_at,
        accepted_at=only_part().created_at,
    )
    receive_events(event_payload("processed", stored_recipients()[0], base=SECOND_REQUEST))
    assert not only_part().sent_twice
    receive_events(event_payload("processed", stored_recipients()[0], base=FIRST_REQUEST))
    assert (only_part().sent_twice, only_part().x_message_id) == (True, SECOND_REQUEST)


def test_a_later_event_fills_in_a_missing_request_id(database: str) -> None:
    put_in_outbox()
    receive_events(event_payload("processed", stored_recipients()[0], sg_message_id=""))
    assert (only_part().state, only_part().x_message_id) == ("accepted", "")
    receive_events(event_payload("delivered", stored_recipients()[0], base=FIRST_REQUEST))
    assert (only_part().x_message_id, only_part().sent_twice) == (FIRST_REQUEST, False)
    receive_events(event_payload("delivered", stored_recipients()[0], base=SECOND_REQUEST))
    assert only_part().sent_twice


@pytest.mark.parametrize(
    "found",
    [
        None,
        "",
        17,
        FIRST_REQUEST,
        "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        f"{'x' * 23}.recvd.0",
        f"{'x' * 21}\0.recvd.0",
        f"{'x' * 21}\ud800.recvd.0",
        f"{'ü' * 22}.recvd.0",
    ],
)
def test_message_ids_of_another_format_do_not_mark_a_mail_sent_twice(database: str, found: object) -> None:
    put_in_outbox()
    receive_events(event_payload("processed", stored_recipients()[0], base=FIRST_REQUEST))
    receive_events(event_payload("delivered", stored_recipients()[0], sg_message_id=found))
    assert (only_part().sent_twice, stored_recipients()[0].status) == (False, "delivered")


def test_a_message_id_with_surrounding_spaces_is_stripped(database: str) -> None:
    put_in_outbox()
    receive_events(
        event_payload("processed", stored_recipients()[0], sg_message_id=f" {FIRST_REQUEST}.recvd.0 ")
    )
    assert only_part().x_message_id == FIRST_REQUEST


def test_a_response_id_of_another_format_does_not_mark_a_mail_sent_twice(database: str) -> None:
    put_in_outbox()
    be(State.ACCEPTED, x_message_id="14c5d75ce93.dfd.64b469", accepted_at=only_part().created_at)
    receive_events(event_payload("processed", stored_recipients()[0]))
    assert (only_part().sent_twice, only_part().x_message_id) == (False, "14c5d75ce93.dfd.64b469")


def test_a_202_recorded_while_its_events_are_stored_is_not_missed(
    database: str,
) -> None:
    put_in_outbox()
    be(State.POSTING)

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        found = call(sql, params, many, context)
        if sql.startswith("SELECT") and "sending_app_recipient" in sql and not done:
            done.append(1)
            be(State.ACCEPTED, x_message_id=SECOND_REQUEST)
        return found

    done: list[int] = []
    with connections[database].execute_wrapper(execute):
        take_in(normalized_event("processed", stored_recipients()[0], base=FIRST_REQUEST))
    assert (only_part().sent_twice, only_part().x_message_id) == (True, SECOND_REQUEST)


# Whoever is not ours


@pytest.mark.parametrize(
    "message_id",
    ["7f3c3a4e-0000-4000-8000-000000000000", "{7f3c3a4e-0000-4000-8000-00000000}", "x" * 36, "\ud800" * 36],
)
def test_events_of_foreign_mails_need_one_query(database: str, message_id: str) -> None:
    put_in_outbox()
    found = [normalized_event("open", stored_recipients()[0], anymail_id=message_id) for _ in range(3)]
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*found)
    assert sum("SELECT" in query["sql"] for query in queries) <= 1
    assert not any("UPDATE" in query["sql"] for query in queries)
    assert only_part().state == "waiting"


@pytest.mark.parametrize("message_id", [None, "", "<20260101.1@smtp.example>", "an-id-of-another-making"])
def test_events_without_a_valid_message_id_need_no_query(database: str, message_id: str | None) -> None:
    put_in_outbox()
    one = normalized_event("open", stored_recipients()[0], anymail_id=message_id)
    with CaptureQueriesContext(connections[database]) as queries, transaction.atomic(using=database):
        outcome_events.apply_events([one], [datetime.now(UTC)])
    assert [query["sql"] for query in queries if "SELECT" in query["sql"]] == []


def test_events_of_many_mails_need_few_queries(database: str) -> None:
    for _ in range(12):
        put_in_outbox()
    found = [normalized_event("delivered", one) for one in stored_recipients()]
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*found)
    assert len(queries) < 30
    assert {one.status for one in stored_recipients()} == {"delivered"}
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*(normalized_event("open", one) for one in stored_recipients()))
    assert len(queries) <= 10
    assert all(one.opened_at for one in stored_recipients())


@pytest.mark.parametrize(
    ("first_event_at", "accepted_at", "expected"),
    [
        (None, LATER - timedelta(days=1), (LATER, LATER - timedelta(days=1))),
        (LATER + timedelta(hours=1), LATER + timedelta(hours=1), (LATER, LATER)),
        (LATER + timedelta(hours=1), LATER - timedelta(days=1), (LATER, LATER - timedelta(days=1))),
        (LATER - timedelta(hours=1), LATER - timedelta(hours=1), (LATER - timedelta(hours=1),) * 2),
        (LATER + timedelta(microseconds=1), None, (LATER, LATER)),
    ],
)
def test_the_first_event_to_arrive_gives_the_time_of_an_acceptance_by_events(
    database: str,
    first_event_at: datetime | None,
    accepted_at: datetime | None,
    expected: tuple[datetime, datetime],
) -> None:
    put_in_outbox()
    be(State.ACCEPTED, first_event_at=first_event_at, accepted_at=accepted_at)
    outcome_events.apply_events([normalized_event("processed", stored_recipients()[0])], [LATER])
    assert (only_part().first_event_at, only_part().accepted_at) == expected


# With the storing, or not at all


def test_event_feedback_is_rolled_back_with_the_stored_events(database: str) -> None:
    put_in_outbox()
    with transaction.atomic(using=database):
        receive_events(event_payload("delivered", stored_recipients()[0]))
        assert only_part().state == "accepted"
        transaction.set_rollback(True, using=database)
    assert (only_part().state, stored_recipients()[0].status, Event.objects.count()) == (
        "waiting",
        "queued",
        0,
    )


@pytest.mark.parametrize("table", ["sending_app_mail", "sending_app_recipient"])
def test_an_internal_error_in_event_feedback_loses_no_event(
    database: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    with updates_fail(database, ZeroDivisionError("ours"), table):
        stored = store.store(stream_entries(event_payload("delivered", stored_recipients()[0])), Lease())
    assert (len(stored.deliveries), Event.objects.count()) == (1, 1)
    assert (only_part().state, only_part().first_event_at, stored_recipients()[0].status) == (
        "waiting",
        None,
        "queued",
    )
    (message,) = caplog.messages
    assert message.startswith("The feedback of 1 events could not be applied: ZeroDivisionError at ")
    assert "ann@example.com" not in caplog.text


def test_a_database_outage_in_event_feedback_rolls_back_the_events(database: str) -> None:
    put_in_outbox()
    with updates_fail(database, OperationalError()), pytest.raises(DatabaseUnavailable):
        receive_events(event_payload("delivered", stored_recipients()[0]))
    assert (Event.objects.count(), only_part().state) == (0, "waiting")
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert only_part().state == "accepted"


def test_a_time_limit_in_event_feedback_rolls_back_the_events(database: str) -> None:
    put_in_outbox()
    with updates_fail(database, SoftTimeLimitExceeded()), pytest.raises(SoftTimeLimitExceeded):
        receive_events(event_payload("delivered", stored_recipients()[0]))
    assert (Event.objects.count(), only_part().state) == (0, "waiting")


def test_event_feedback_is_connected_once() -> None:
    names = [key[0] for key, *_ in signals.stored.receivers]
    assert names.count("sending_app.outcome.events") == 1


# What receivers are told


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PARKED, State.WAITING, State.FAILED])
def test_receivers_are_notified_once_after_the_events_are_committed(database: str, state: Mail.State) -> None:
    put_in_outbox()
    be(state)
    with recorded_signals() as heard:
        with transaction.atomic(using=database):
            receive_events(event_payload("processed", stored_recipients()[0]))
            assert heard.calls == []
        receive_events(event_payload("delivered", stored_recipients()[0]))
    assert heard.signals == ["post_send"]
    assert heard.calls[0][1]["message"].to == ["ann@example.com"]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.POSTING])
def test_event_feedback_does_not_notify_of_mails_that_the_delivery_notifies_of(
    database: str, state: Mail.State
) -> None:
    put_in_outbox()
    be(state)
    with recorded_signals() as heard:
        receive_events(event_payload("processed", stored_recipients()[0]))
    assert heard.calls == []


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_event_feedback_of_a_failed_or_cancelled_mail_queues_its_recipients_again(
    database: str, state: Mail.State
) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    be(state)
    Recipient.objects.update(status="failed", rank=1)
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert [one.status for one in stored_recipients()] == ["delivered", "queued"]


# Many workers


def test_concurrent_event_feedback_of_the_same_mails_does_not_deadlock(database: str) -> None:
    for number in range(12):
        put_in_outbox(mail(f"{number}@example.com", f"other-{number}@example.com"))
    together = Barrier(4)

    def store(worker: int) -> None:
        chance = random.Random(worker)
        kinds = ("processed", "delivered", "open", "bounce")
        batches = [
            [
                event_payload(kind, one, base=FIRST_REQUEST if worker % 2 else SECOND_REQUEST)
                for one in everybody
            ]
            for kind in kinds
        ]
        together.wait()
        try:
            for batch in batches:
                receive_events(*chance.sample(batch, len(batch)))
        finally:
            connections.close_all()

    everybody = stored_recipients()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(4)))
    assert {one.state for one in all_parts()} == {"accepted"}
    assert {one.sent_twice for one in all_parts()} == {True}
    assert {one.status for one in stored_recipients()} == {"bounced"}
    assert all(one.opened_at for one in stored_recipients())


# Any order

KINDS = ("processed", "deferred", "delivered", "bounce", "open")


@hypothesis_settings(max_examples=examples(30), suppress_health_check=list(HealthCheck))
@given(
    facts=st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from(["ann", "bob"]), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    state=st.sampled_from([one for one in State if one is not State.POSTING]),
    data=st.data(),
)
def test_event_feedback_is_independent_of_order_and_batches(
    database: str, facts: list[tuple[str, str, int, bool]], state: Mail.State, data: st.DataObject
) -> None:
    Mail.objects.all().delete()
    for _ in range(2):
        put_in_outbox(mail("ann@example.com", "bob@example.com"))
    be_all = Mail.objects.update(state=state)
    assert be_all == 2
    one, other = all_parts()
    made = {
        which.pk: [
            normalized_event(kind, row, seconds, SECOND_REQUEST if second else FIRST_REQUEST)
            for kind, name, seconds, second in facts
            for row in stored_recipients(which)
            if row.address.startswith(name)
        ]
        for which in (one, other)
    }
    take_in(*made[one.pk])
    order = data.draw(st.permutations(made[other.pk] + data.draw(st.lists(st.sampled_from(made[other.pk])))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        take_in(*order[start:end])
    assert outcome(one) == outcome(other)


def outcome(found: Mail) -> list[Any]:
    found.refresh_from_db()
    names = ("address", "status", "rank", "status_at", "reject_reason", "opened_at")
    return [
        found.state,
        found.sent_twice,
        *(tuple(getattr(one, name) for name in names) for one in stored_recipients(found)),
    ]


EARLIER = LATER - timedelta(seconds=25)


@pytest.mark.parametrize("order", [(EARLIER, LATER), (LATER, EARLIER)])
@pytest.mark.parametrize("together", [True, False])
def test_seen_at_is_the_received_time_of_the_first_event(
    database: str, order: tuple[datetime, datetime], together: bool
) -> None:
    put_in_outbox()
    put_in_outbox()
    ann, other = stored_recipients()
    events = [normalized_event(kind, ann, seconds=-10 * 86400) for kind in ("processed", "delivered")]
    with transaction.atomic(using=database):
        if together:
            outcome_events.apply_events([*events, normalized_event("processed", other)], [*order, LATER])
        else:
            outcome_events.apply_events(events[:1], order[:1])
            outcome_events.apply_events([normalized_event("processed", other)], [LATER])
            outcome_events.apply_events(events[1:], order[1:])
    assert [(one.first_event_at, one.accepted_at) for one in all_parts()] == [
        (EARLIER, EARLIER),
        (LATER, LATER),
    ]


def test_an_earlier_event_keeps_the_accepted_time_of_a_202(database: str) -> None:
    put_in_outbox()
    be(State.ACCEPTED, accepted_at=EARLIER, finished_at=EARLIER)
    receive_events(event_payload("delivered", stored_recipients()[0]), at=LATER)
    receive_events(event_payload("processed", stored_recipients()[0]), at=LATER - timedelta(seconds=1))
    found = only_part()
    assert (found.accepted_at, found.finished_at) == (EARLIER, EARLIER)
    assert found.first_event_at == LATER - timedelta(seconds=1)


def test_an_internal_error_in_event_feedback_is_logged_as_an_error(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    with updates_fail(database, ZeroDivisionError()):
        take_in(normalized_event("processed", stored_recipients()[0]))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
