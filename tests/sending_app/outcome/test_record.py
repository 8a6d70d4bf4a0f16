"""A result is recorded for the current attempt alone, and never against a proof of acceptance."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from events_app.shared.database import database_now
from sending_app import conf
from sending_app.api.client import SendResult
from sending_app.delivery import leases
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import FINAL, Mail, Recipient
from sending_app.outcome import record
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import accepted_outcome, outcome_of, take_lease
from tests.support.sending.mail_events import (
    FIRST_REQUEST,
    SECOND_REQUEST,
    event_payload,
    receive_events,
    stored_recipients,
)
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State

NOT_ACCEPTED = [one for one in Outcome if one is not Outcome.ACCEPTED]


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


def row() -> dict[str, Any]:
    """The rows of the only mail and its recipients."""
    return {
        "part": Mail.objects.values().get(),
        "recipients": list(Recipient.objects.order_by("pk").values()),
    }


def again(state: Mail.State = State.WAITING, **changes: Any) -> None:
    """The attempt's response was lost, and the mail has changed meanwhile."""
    Mail.objects.update(state=state, due=only_part().created_at, **changes)


# Outcomes


def test_an_accepted_outcome_is_recorded(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    before = database_now(database)
    record.record_result(taken.mail, accepted_outcome())
    found = only_part()
    assert (found.state, found.x_message_id, found.sent_twice, found.error) == (
        "accepted",
        FIRST_REQUEST,
        False,
        "",
    )
    assert found.accepted_at is not None
    assert before <= found.accepted_at <= database_now(database)
    assert found.finished_at == found.accepted_at
    assert (found.first_event_at, found.log) == (None, [])
    assert [one.status for one in stored_recipients()] == ["queued"]


def test_an_accepted_outcome_without_a_message_id_is_recorded(database: str) -> None:
    put_in_outbox()
    record.record_result(take_lease().mail, accepted_outcome(""))
    assert (only_part().state, only_part().x_message_id) == ("accepted", "")


def test_a_failed_outcome_is_recorded_with_its_recipients(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    record.record_result(take_lease().mail, outcome_of(Outcome.FAILED))
    found = only_part()
    assert (found.state, found.error) == ("failed", "SendGrid's own words")
    assert found.finished_at is not None
    assert found.accepted_at is None
    assert [entry["what"] for entry in found.log] == ["SendGrid's own words"]
    assert [one.status for one in stored_recipients()] == ["failed", "failed"]


def test_a_mail_stopped_by_the_circuit_breaker_is_due_at_once(database: str) -> None:
    put_in_outbox()
    record.record_result(take_lease().mail, outcome_of(Outcome.PAUSED))
    found = only_part()
    assert (found.state, found.error, found.finished_at) == ("waiting", "SendGrid's own words", None)
    assert found.due <= database_now(database)


def test_retry_backoff_doubles_up_to_a_limit_with_jitter(database: str) -> None:
    put_in_outbox()
    waits = []
    for _ in range(10):
        taken = take_lease()
        before = database_now(database)
        record.record_result(taken.mail, outcome_of(Outcome.RETRY))
        waits.append((only_part().due - before).total_seconds())
        Mail.objects.update(due=only_part().created_at)
    asked = [min(record.FIRST_BACKOFF * 2**number, record.MAX_BACKOFF) for number in range(10)]
    assert all(0.75 * most <= wait <= 1.25 * most + 5 for wait, most in zip(waits, asked, strict=True))
    assert (only_part().state, only_part().unknown_outcomes, len(only_part().log)) == ("waiting", 0, 10)


def test_an_unknown_outcome_is_due_after_the_unknown_wait(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SEND_UNKNOWN_WAIT=900)
    put_in_outbox()
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    found = only_part()
    assert (found.state, found.unknown_outcomes, found.finished_at) == ("unknown", 1, None)
    assert found.attempted_at is not None
    assert found.unknown_since is not None
    assert found.attempted_at <= found.unknown_since
    assert found.due == found.unknown_since + timedelta(seconds=900)


def test_an_unknown_scheduled_mail_is_due_after_send_at_and_the_unknown_wait(database: str) -> None:
    put_in_outbox()
    send_at = only_part().created_at + timedelta(hours=30)
    Mail.objects.update(send_at=send_at)
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    assert only_part().due == send_at + timedelta(seconds=conf.UNKNOWN_WAIT.get())


@pytest.mark.parametrize("outcome", NOT_ACCEPTED)
def test_an_error_text_is_recorded_cleaned_and_cut(database: str, outcome: Outcome) -> None:
    put_in_outbox()
    record.record_result(take_lease().mail, outcome_of(outcome, "no\0 such \ud800 thing" + "!" * 5000))
    assert only_part().error.startswith("no such \ufffd thing!")
    assert len(only_part().error) == record.MAX_TEXT
    assert only_part().log[0]["what"] == only_part().error


def test_the_log_keeps_only_its_last_entries(database: str) -> None:
    put_in_outbox()
    for number in range(record.MAX_LOG_ENTRIES + 3):
        record.record_result(take_lease().mail, outcome_of(Outcome.PAUSED, str(number)))
    assert [entry["what"] for entry in only_part().log] == [
        str(n) for n in range(3, record.MAX_LOG_ENTRIES + 3)
    ]


# An attempt that is not the last one any more


@pytest.mark.parametrize("outcome", NOT_ACCEPTED)
@pytest.mark.parametrize("state", State)
def test_other_outcomes_of_an_older_attempt_are_ignored(
    database: str, outcome: Outcome, state: Mail.State
) -> None:
    put_in_outbox()
    older = take_lease()
    again()
    take_lease()
    again(state)
    before = row()
    with recorded_signals() as heard:
        record.record_result(older.mail, outcome_of(outcome))
    assert row() == before
    assert heard.calls == []


@pytest.mark.parametrize("outcome", NOT_ACCEPTED)
@pytest.mark.parametrize("state", [one for one in State if one is not State.POSTING])
def test_an_outcome_of_a_reconciled_mail_is_ignored(
    database: str, outcome: Outcome, state: Mail.State
) -> None:
    put_in_outbox()
    taken = take_lease()
    again(state)
    before = row()
    record.record_result(taken.mail, outcome_of(outcome))
    assert row() == before


# A 202 that comes late


@pytest.mark.parametrize("state", [one for one in State if one not in (State.POSTING, State.ACCEPTED)])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_late_202_marks_a_mail_accepted_from_any_state(
    database: str, state: Mail.State, attempts: int
) -> None:
    put_in_outbox()
    taken = take_lease()
    for _ in range(attempts - 1):
        again()
        take_lease()
    again(state, error="who knows")
    Recipient.objects.update(status="failed", rank=1)
    with recorded_signals() as heard:
        record.record_result(taken.mail, accepted_outcome())
        record.record_result(taken.mail, accepted_outcome())
    assert (only_part().state, only_part().error, only_part().sent_twice) == ("accepted", "", False)
    assert heard.signals == ["post_send"]
    assert [one.status for one in stored_recipients()] == ["queued"]


@pytest.mark.parametrize("x_message_id", [FIRST_REQUEST, ""])
@pytest.mark.parametrize("outcome", NOT_ACCEPTED)
def test_a_202_of_an_older_attempt_wins_over_a_failure_of_the_newer(
    database: str, outcome: Outcome, x_message_id: str
) -> None:
    put_in_outbox()
    older = take_lease()
    again()
    newer = take_lease()
    with recorded_signals() as heard:
        record.record_result(older.mail, accepted_outcome(x_message_id))
        assert (only_part().state, only_part().attempt_token) == ("posting", newer.mail.attempt_token)
        assert heard.calls == []
        record.record_result(newer.mail, outcome_of(outcome))
    assert (only_part().state, only_part().error, only_part().sent_twice) == ("accepted", "", False)
    assert heard.signals == ["post_send"]
    assert leases.acquire(Mail.Lane.MAIL) is None


@pytest.mark.parametrize(("second", "twice"), [(SECOND_REQUEST, True), (FIRST_REQUEST, False), ("", False)])
def test_a_202_of_the_newer_attempt_after_one_of_the_older_marks_a_mail_sent_twice(
    database: str, caplog: pytest.LogCaptureFixture, second: str, twice: bool
) -> None:
    put_in_outbox()
    older = take_lease()
    again()
    newer = take_lease()
    with recorded_signals() as heard:
        record.record_result(older.mail, accepted_outcome(FIRST_REQUEST))
        record.record_result(newer.mail, accepted_outcome(second))
    found = only_part()
    assert (found.state, found.x_message_id, found.sent_twice) == ("accepted", FIRST_REQUEST, twice)
    assert heard.signals == ["post_send"]
    assert caplog.messages == [f"SendGrid has accepted mail {found.pk} twice"] * twice


@pytest.mark.parametrize(("first", "twice"), [(SECOND_REQUEST, True), (FIRST_REQUEST, False), ("", False)])
def test_a_202_of_an_older_attempt_after_one_of_the_newer_marks_a_mail_sent_twice(
    database: str, caplog: pytest.LogCaptureFixture, first: str, twice: bool
) -> None:
    put_in_outbox()
    older = take_lease()
    again()
    with recorded_signals() as heard:
        record.record_result(take_lease().mail, accepted_outcome(FIRST_REQUEST))
        record.record_result(older.mail, accepted_outcome(first))
    assert (only_part().state, only_part().x_message_id, only_part().sent_twice) == (
        "accepted",
        FIRST_REQUEST,
        twice,
    )
    assert heard.signals == ["post_send"]
    assert caplog.messages == [f"SendGrid has accepted mail {only_part().pk} twice"] * twice


def test_a_202_of_a_deleted_mail_is_ignored(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    Mail.objects.all().delete()
    with recorded_signals() as heard:
        record.record_result(taken.mail, accepted_outcome())
    assert heard.calls == []


# Events as proof


@pytest.mark.parametrize("outcome", NOT_ACCEPTED)
def test_event_feedback_wins_over_every_other_outcome(database: str, outcome: Outcome) -> None:
    put_in_outbox()
    taken = take_lease()
    receive_events(event_payload("delivered", stored_recipients()[0]))
    with recorded_signals() as heard:
        record.record_result(taken.mail, outcome_of(outcome))
        record.record_result(taken.mail, outcome_of(outcome))
    found = only_part()
    assert (found.state, found.error, found.log, found.unknown_outcomes) == ("accepted", "", [], 0)
    assert found.finished_at is not None
    assert [one.status for one in stored_recipients()] == ["delivered"]
    assert heard.signals == ["post_send"]


def test_an_event_and_the_202_of_one_request_are_not_a_second_send(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    receive_events(event_payload("processed", stored_recipients()[0]))
    with recorded_signals() as heard:
        record.record_result(taken.mail, accepted_outcome(FIRST_REQUEST))
    assert (only_part().state, only_part().sent_twice) == ("accepted", False)
    assert heard.signals == ["post_send"]


def test_an_event_of_the_first_attempt_and_a_202_of_the_second_mark_a_mail_sent_twice(database: str) -> None:
    put_in_outbox()
    take_lease()
    again()
    second = take_lease()
    receive_events(event_payload("processed", stored_recipients()[0]))
    record.record_result(second.mail, accepted_outcome(SECOND_REQUEST))
    assert (only_part().state, only_part().x_message_id, only_part().sent_twice) == (
        "accepted",
        FIRST_REQUEST,
        True,
    )


def test_recording_an_outcome_does_not_lower_the_recipient_status(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    receive_events(
        event_payload("delivered", stored_recipients()[0]), event_payload("open", stored_recipients()[0])
    )
    before = row()["recipients"]
    record.record_result(taken.mail, accepted_outcome())
    assert row()["recipients"] == before


@pytest.mark.parametrize("outcome", [accepted_outcome(), *(outcome_of(one) for one in NOT_ACCEPTED)])
def test_only_final_states_have_finished_at(database: str, outcome: SendResult) -> None:
    put_in_outbox()
    taken: LeasedMail = take_lease()
    record.record_result(taken.mail, outcome)
    assert (only_part().finished_at is not None) == (only_part().state in FINAL)
