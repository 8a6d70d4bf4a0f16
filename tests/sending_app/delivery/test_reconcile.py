"""Mails without a known outcome are reconciled: accepted, sent again, failed, or parked for an operator."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from events_app import stream
from events_app.shared import own_events, redis
from events_app.shared.database import database_now
from sending_app import conf
from sending_app.delivery import leases, reconcile
from sending_app.exceptions import Outcome
from sending_app.models import Mail, OutboxMessage, Recipient, WebhookActivity
from sending_app.outcome import record
from tests.support.databases import on_postgresql, plans_without_primary_key, updates_fail
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import accepted_outcome, outcome_of, take_lease
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


MOMENTS = (
    "created_at",
    "send_at",
    "due",
    "attempted_at",
    "unknown_since",
    "accepted_at",
    "first_event_at",
    "finished_at",
)


def let_pass(time: timedelta) -> None:
    """Move the times of all rows into the past."""
    for one in all_parts():
        earlier = {name: getattr(one, name) - time for name in MOMENTS if getattr(one, name)}
        Mail.objects.filter(pk=one.pk).update(**earlier)
    for row in WebhookActivity.objects.order_by("at"):
        WebhookActivity.objects.filter(pk=row.pk).update(at=row.at - time)


def settle() -> dict[str, int]:
    return dict(reconcile.reconcile_all())


def unknown(**changes: Any) -> Mail:
    """A mail with an unknown outcome, an hour ago."""
    put_in_outbox()
    pk = take_lease().mail.pk
    Mail.objects.filter(pk=pk).update(**changes)
    record.record_result(Mail.objects.select_related("message").get(pk=pk), outcome_of(Outcome.UNKNOWN))
    let_pass(HOUR)
    return Mail.objects.get(pk=pk)


def posts_get_through(
    lost: Mail, *, before: timedelta = HOUR, after: timedelta = HOUR, every: timedelta = MINUTE
) -> None:
    """Record webhook activity of the mail's account, from `before` the last attempt to `after`."""
    lost.refresh_from_db()
    assert lost.attempted_at
    since = max(moment for moment in (lost.attempted_at, lost.send_at) if moment) - before
    WebhookActivity.objects.bulk_create(
        (
            WebhookActivity(account=lost.account, at=since + number * every)
            for number in range((before + after) // every + 1)
        ),
        ignore_conflicts=True,
    )


def neighbour(lost: Mail, attempted: timedelta, seen: timedelta | None, **changes: Any) -> Mail:
    """An accepted mail, attempted so long after the lost mail, and its first event `seen` after that."""
    put_in_outbox(mail("neighbour@example.com"))
    taken = take_lease()
    record.record_result(taken.mail, accepted_outcome())
    lost.refresh_from_db()
    assert lost.attempted_at
    at = lost.attempted_at + attempted
    seen_at = at + seen if seen is not None else None
    had = {"account": lost.account, "attempted_at": at, "first_event_at": seen_at}
    Mail.objects.filter(pk=taken.mail.pk).update(**{**had, **changes})
    return taken.mail


def ours(one: Mail) -> Mail:
    one.refresh_from_db()
    return one


# A worker that is gone


def test_an_expired_lease_makes_a_mail_unknown(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    assert (settle(), reconcile.anything_to_reconcile()) == ({}, False)
    Mail.objects.update(due=only_part().created_at)
    assert reconcile.anything_to_reconcile()
    assert settle() == {"unknown": 1}
    found = only_part()
    assert (found.state, found.unknown_outcomes, found.attempt_token) == (
        "unknown",
        1,
        taken.mail.attempt_token,
    )
    assert found.error == "The worker died or was interrupted."
    assert [entry["what"] for entry in found.log] == [found.error]
    assert found.attempted_at is not None
    assert found.due == found.attempted_at + timedelta(seconds=conf.UNKNOWN_WAIT.get())
    assert (settle(), reconcile.anything_to_reconcile()) == ({}, False)


def test_an_attempt_of_a_dead_worker_lasts_until_its_lease_expires(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    lease = taken.mail.due
    let_pass(HOUR)
    # Nobody has looked for an hour: it is time to decide as well.
    assert settle() == {"unknown": 2}
    assert only_part().unknown_since == lease - HOUR
    assert only_part().error.startswith("No event came between ")


def test_an_expired_mail_with_event_feedback_is_reconciled_as_accepted(database: str) -> None:
    put_in_outbox()
    take_lease()
    receive_events(event_payload("processed", stored_recipients()[0]))
    Mail.objects.update(due=only_part().created_at)
    with recorded_signals() as heard:
        assert settle() == {"changed meanwhile": 1}
    assert (only_part().state, only_part().unknown_outcomes, heard.signals) == ("accepted", 0, ["post_send"])


def test_a_late_202_of_an_expired_mail_marks_it_accepted(database: str) -> None:
    put_in_outbox()
    taken = take_lease()
    Mail.objects.update(due=only_part().created_at)
    settle()
    record.record_result(taken.mail, accepted_outcome())
    assert only_part().state == "accepted"


# Sent again


def test_an_unknown_mail_proven_not_delivered_is_retried(database: str) -> None:
    lost = unknown()
    neighbour(lost, -30 * SECOND, seen=40 * SECOND)
    neighbour(lost, 30 * SECOND, seen=40 * SECOND)
    posts_get_through(lost)
    assert reconcile.anything_to_reconcile()
    assert settle() == {"waiting": 1}
    found = ours(lost)
    assert (found.state, found.attempts, found.unknown_outcomes) == ("waiting", 1, 1)
    assert found.due <= database_now(database)
    assert found.log[-1]["what"].endswith("Sent again.")
    assert leases.any_mail_due(Mail.Lane.MAIL)
    take_lease()
    assert (ours(lost).state, ours(lost).attempts) == ("posting", 2)


def test_a_stored_event_of_ours_proves_nothing(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    own_events.keep([event_payload("dropped", stored_recipients()[0], sendgrid_pipeline="suppressed")])
    assert settle() == {"waiting": 1}


def test_stored_events_of_later_mails_prove_that_the_webhook_works(database: str) -> None:
    lost = unknown()
    assert lost.attempted_at
    put_in_outbox(mail("opens@example.com"))
    other = take_lease().mail
    record.record_result(other, accepted_outcome())
    let_pass(HOUR)
    lost.refresh_from_db()
    for number in range(-2, 11):
        receive_events(
            event_payload("open", stored_recipients(other)[0]), at=lost.attempted_at + number * MINUTE
        )
    assert settle() == {"waiting": 1}


def not_yet(lost: Mail, database: str) -> str:
    """Assert that the mail stays unknown until the next check, and return the reason."""
    before = database_now(database)
    assert settle() == {"unknown": 1}
    found = ours(lost)
    assert (found.state, found.unknown_outcomes) == ("unknown", 1)
    assert found.due >= before + timedelta(seconds=reconcile.RECHECK_DELAY)
    assert (settle(), reconcile.anything_to_reconcile()) == ({}, False)
    return found.error


def test_an_unknown_mail_is_not_reconciled_before_the_unknown_wait_is_over(database: str) -> None:
    put_in_outbox()
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    posts_get_through(only_part())
    let_pass(timedelta(seconds=conf.UNKNOWN_WAIT.get() - 5))
    assert (settle(), reconcile.anything_to_reconcile()) == ({}, False)
    let_pass(timedelta(seconds=5))
    assert settle() == {"waiting": 1}


def test_the_unknown_wait_begins_at_the_end_of_the_attempt(database: str) -> None:
    put_in_outbox()
    taken = take_lease().mail
    let_pass(30 * MINUTE)
    record.record_result(taken, outcome_of(Outcome.UNKNOWN))
    found = only_part()
    assert found.unknown_since is not None
    assert found.due == found.unknown_since + timedelta(seconds=conf.UNKNOWN_WAIT.get())
    assert abs(found.unknown_since - database_now(database)) < 5 * MINUTE


MAY_NOT_HAVE_COME = (
    "SendGrid's posts may not have reached us then. Only an event of this mail or an operator can settle it."
)

# Not where a mail that was accepted around the same time was not heard of


@pytest.mark.parametrize("attempted", [-59 * SECOND, timedelta(), 59 * SECOND])
@pytest.mark.parametrize("seen", [None, 301 * SECOND, HOUR])
def test_an_accepted_neighbour_without_event_feedback_prevents_a_retry(
    database: str, attempted: timedelta, seen: timedelta | None
) -> None:
    lost = unknown()
    posts_get_through(lost)
    neighbour(lost, attempted - SECOND, seen=20 * SECOND)
    late = neighbour(lost, attempted, seen=seen)
    assert not_yet(lost, database) == (
        f"SendGrid accepted mail {late.pk} around the same time, but no event of mail {late.pk} came within "
        "0:05:00: "
        f"{MAY_NOT_HAVE_COME}"
    )


def test_mails_accepted_during_a_long_attempt_are_neighbours(database: str) -> None:
    lost = unknown()
    assert lost.attempted_at
    Mail.objects.filter(pk=lost.pk).update(unknown_since=lost.attempted_at + 10 * MINUTE)
    posts_get_through(lost)
    late = neighbour(lost, 10 * MINUTE, seen=None)
    assert f"SendGrid accepted mail {late.pk} around" in not_yet(lost, database)


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "another"},
        {"accepted_at": None, "state": State.FAILED},
        {"send_at": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
)
def test_mails_unsuitable_as_proof_are_not_neighbours(database: str, changes: dict[str, Any]) -> None:
    lost = unknown()
    posts_get_through(lost)
    neighbour(lost, timedelta(), seen=None, **changes)
    assert settle() == {"waiting": 1}


@pytest.mark.parametrize("attempted", [-62 * SECOND, 62 * SECOND])
def test_mails_accepted_at_another_time_are_not_neighbours(database: str, attempted: timedelta) -> None:
    lost = unknown()
    posts_get_through(lost)
    neighbour(lost, attempted, seen=None)
    assert settle() == {"waiting": 1}


def test_a_scheduled_mail_whose_time_has_come_is_a_neighbour(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    neighbour(lost, timedelta(), seen=None, send_at=lost.attempted_at)
    assert "SendGrid accepted mail" in not_yet(lost, database)


# Not where no event of the account came for a while


@pytest.mark.parametrize("silent_from", [-115, -60, 0, 175, 290, 465])
def test_a_gap_in_webhook_activity_prevents_a_retry(database: str, silent_from: int) -> None:
    lost = unknown()
    posts_get_through(lost, every=5 * SECOND)
    assert lost.attempted_at
    since = lost.attempted_at + silent_from * SECOND
    WebhookActivity.objects.filter(at__gte=since, at__lt=since + 130 * SECOND).delete()
    error = not_yet(lost, database)
    assert error.startswith("No event came between ")
    assert error.endswith(f" (UTC): {MAY_NOT_HAVE_COME}")
    since, until = (datetime.fromisoformat(error[n : n + 19] + "+00:00") for n in (22, 46))
    assert 110 * SECOND < until - since <= 130 * SECOND


@pytest.mark.parametrize("silent_from", [-330, -1000, 500, 700])
def test_a_gap_in_webhook_activity_at_another_time_does_not_prevent_a_retry(
    database: str, silent_from: int
) -> None:
    lost = unknown()
    posts_get_through(lost, every=5 * SECOND)
    assert lost.attempted_at
    since = lost.attempted_at + silent_from * SECOND
    WebhookActivity.objects.filter(at__gte=since, at__lt=since + 200 * SECOND).delete()
    assert settle() == {"waiting": 1}


def test_no_webhook_activity_at_all_prevents_a_retry(database: str) -> None:
    assert not_yet(unknown(), database).startswith("No event came between ")


def test_webhook_activity_of_another_account_does_not_allow_a_retry(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    WebhookActivity.objects.update(account="another")
    assert not_yet(lost, database).startswith("No event came between ")


# Not while events wait


def put_into_the_stream(at: datetime) -> None:
    """Put a raw event with this time into the stream."""
    entry = f"{int(at.timestamp() * 1000)}-0"
    redis.for_workers().xadd(redis.key(), {"d": "tracking", "r": json.dumps({"event": "open"})}, id=entry)


WAIT_TO_BE_STORED = "Events wait to be stored; an event of this mail may be among them."


def test_a_backlog_from_within_the_unknown_wait_prevents_a_retry(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    assert lost.unknown_since
    put_into_the_stream(lost.unknown_since + timedelta(seconds=conf.UNKNOWN_WAIT.get() - 1))
    assert not_yet(lost, database) == WAIT_TO_BE_STORED


@pytest.mark.parametrize("wait", [1, 10, 60])
def test_a_backlog_prevents_a_retry_even_with_a_short_unknown_wait(
    database: str, anymail: Callable[..., None], wait: int
) -> None:
    anymail(SEND_UNKNOWN_WAIT=wait)
    put_in_outbox()
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    lost = only_part()
    around = 10 * wait * SECOND
    posts_get_through(lost, before=around, after=around, every=around / 100)
    put_into_the_stream(database_now(database) - wait * SECOND / 2)
    let_pass(timedelta(seconds=wait))
    assert not_yet(lost, database) == WAIT_TO_BE_STORED


def test_a_long_waiting_backlog_prevents_a_retry(database: str) -> None:
    # After an hour in which no event was stored: of those the oldest are stored first.
    lost = unknown()
    posts_get_through(lost)
    put_into_the_stream(database_now(database) - 65 * SECOND)
    assert not_yet(lost, database) == WAIT_TO_BE_STORED


def test_a_redis_clock_set_back_prevents_a_retry(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    put_into_the_stream(database_now(database) + HOUR)
    assert not_yet(lost, database) == WAIT_TO_BE_STORED


def test_an_event_that_has_just_arrived_does_not_prevent_a_retry(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    stream.append("tracking", [b"{}"])
    assert settle() == {"waiting": 1}
    assert ours(lost).state == "waiting"


def test_a_stored_event_that_could_not_be_applied_prevents_a_retry(database: str) -> None:
    lost = unknown()
    with updates_fail(database, ZeroDivisionError("ours")):
        receive_events(event_payload("processed", stored_recipients(lost)[0]))
    posts_get_through(lost)
    assert (
        not_yet(lost, database)
        == "SendGrid has the mail: an event of the mail is stored, but could not be applied."
    )


@contextmanager
def redis_ahead(of_us: timedelta) -> Iterator[None]:
    """Move the clock of Redis away from the clock of the database."""
    seconds = of_us // SECOND
    client = redis.for_workers()
    right = client.response_callbacks["TIME"]
    client.set_response_callback("TIME", lambda found: (int(found[0]) + seconds, int(found[1])))
    try:
        yield
    finally:
        client.set_response_callback("TIME", right)


@pytest.mark.parametrize("ahead", [-20 * MINUTE, 20 * MINUTE])
@pytest.mark.parametrize("fault", [None, "late", "waits", "silence"])
def test_a_different_redis_clock_does_not_change_the_reconciliation(
    database: str, ahead: timedelta, fault: str | None, anymail: Callable[..., None]
) -> None:
    lost = unknown()
    posts_get_through(lost, before=2 * MINUTE, after=10 * MINUTE, every=5 * SECOND)
    for row in list(WebhookActivity.objects.all()):
        WebhookActivity.objects.filter(pk=row.pk).update(at=row.at + ahead + HOUR * 100)
    WebhookActivity.objects.update(at=F("at") - HOUR * 100)
    neighbour(lost, timedelta(), seen=ahead + (MINUTE if fault != "late" else 6 * MINUTE))
    now = database_now(database) + ahead
    put_into_the_stream(now - (HOUR - 5 * MINUTE if fault == "waits" else 5 * SECOND))
    if fault == "silence":
        rows = WebhookActivity.objects.order_by("at").values_list("pk", flat=True)
        WebhookActivity.objects.filter(pk__in=list(rows)[40:70]).delete()
    with redis_ahead(ahead):
        if fault is None:
            assert settle() == {"waiting": 1}
        else:
            said = {"late": "SendGrid accepted", "waits": "Events wait", "silence": "No event came"}[fault]
            assert not_yet(lost, database).startswith(said)


def test_a_redis_outage_prevents_a_retry(database: str, anymail: Callable[..., None]) -> None:
    lost = unknown()
    posts_get_through(lost)
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert not_yet(lost, database) == "Redis cannot tell whether events are waiting: ConnectionError."


def test_a_scheduled_mail_is_reconciled_after_its_send_at(database: str) -> None:
    put_in_outbox()
    send_at = database_now(database) + 30 * HOUR
    Mail.objects.update(send_at=send_at)
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    lost = only_part()
    let_pass(29 * HOUR)
    assert settle() == {}
    let_pass(HOUR + timedelta(seconds=conf.UNKNOWN_WAIT.get()))
    # Events that came around its post tell nothing of what came after its time.
    WebhookActivity.objects.bulk_create(
        WebhookActivity(account=lost.account, at=ours(lost).created_at + n * MINUTE) for n in range(-60, 60)
    )
    assert not_yet(lost, database).startswith("No event came between ")
    late = neighbour(lost, 30 * HOUR, seen=None)
    posts_get_through(lost)
    Mail.objects.filter(pk=lost.pk).update(due=lost.created_at)
    assert f"SendGrid accepted mail {late.pk} around" in not_yet(lost, database)
    Mail.objects.filter(pk=late.pk).update(first_event_at=F("attempted_at") + MINUTE)
    Mail.objects.filter(pk=lost.pk).update(due=lost.created_at)
    assert settle() == {"waiting": 1}
    assert settle() == {}


# To a person


def test_an_unknown_untracked_mail_is_parked(database: str) -> None:
    put_in_outbox(mail(tracked=False))
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    let_pass(HOUR)
    posts_get_through(only_part())
    with recorded_signals() as heard:
        assert settle() == {"parked": 1}
    found = all_parts()[0]
    assert (found.state, found.finished_at) == ("parked", None)
    assert "SENDGRID_GENERATE_MESSAGE_ID is off" in found.error
    assert found.log[-1]["what"] == found.error
    assert (heard.calls, settle()) == ([], {})


def test_a_mail_that_was_unknown_too_often_is_parked(database: str) -> None:
    lost = unknown(unknown_outcomes=reconcile.MAX_UNKNOWN_OUTCOMES - 1)
    posts_get_through(lost)
    assert settle() == {"parked": 1}
    assert "3 times" in ours(lost).error


def test_an_unknown_mail_over_the_age_limit_is_parked(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    lost = unknown()
    why = not_yet(lost, database)
    posts_get_through(lost)
    let_pass(timedelta(seconds=conf.MAX_AGE.get()))
    assert settle() == {"parked": 1}
    assert ours(lost).error == f"No proof came in time that SendGrid has the mail, or not. {why}"
    assert f"Mail {lost.pk} is parked: its outcome is unknown" in caplog.messages


def test_event_feedback_accepts_a_parked_mail(database: str) -> None:
    lost = unknown(unknown_outcomes=reconcile.MAX_UNKNOWN_OUTCOMES)
    assert settle() == {"parked": 1}
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert ours(lost).state == "accepted"


# Events as proof


def test_an_unknown_mail_with_event_feedback_is_never_retried(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    Mail.objects.filter(pk=lost.pk).update(accepted_at=lost.created_at, x_message_id="A")
    with recorded_signals() as heard:
        assert settle() == {"changed meanwhile": 1}
    assert (ours(lost).state, heard.signals) == ("accepted", ["post_send"])


@pytest.mark.parametrize("state", ["posting", "unknown", "waiting"])
@pytest.mark.parametrize("meanwhile", [{"attempt_token": 18}, {"state": "accepted"}])
def test_reconcile_leaves_a_concurrently_changed_mail_alone(
    database: str, state: str, meanwhile: dict[str, Any]
) -> None:
    lost = unknown()
    posts_get_through(lost)
    Mail.objects.filter(pk=lost.pk).update(state=state)
    lost = Mail.objects.select_related("message").get(pk=lost.pk)
    Mail.objects.filter(pk=lost.pk).update(**meanwhile)
    before = Mail.objects.values().get(pk=lost.pk)
    assert reconcile.reconcile_mail(lost) == "changed meanwhile"
    assert Mail.objects.values().get(pk=lost.pk) == before


# Given up


def test_a_waiting_mail_over_the_age_limit_fails(database: str) -> None:
    put_in_outbox()
    Mail.objects.update(error="SendGrid asked for patience.", due=database_now(database) + HOUR)
    let_pass(timedelta(seconds=conf.MAX_AGE.get() - 60))
    assert settle() == {}
    let_pass(timedelta(seconds=60))
    with recorded_signals() as heard:
        assert settle() == {"failed": 1}
    found = only_part()
    assert (found.state, [one.status for one in stored_recipients()]) == ("failed", ["failed"])
    assert found.error == "Given up after 1 day, 0:00:00: SendGrid asked for patience."
    assert found.log[-1]["what"] == found.error
    assert heard.signals == ["send_failed"]
    assert heard.calls[0][1]["error"] == found.error
    assert settle() == {}


def test_a_mail_never_taken_by_a_worker_fails_at_the_age_limit(database: str) -> None:
    put_in_outbox(alias="gone")
    let_pass(timedelta(days=2))
    assert settle() == {"failed": 1}
    assert only_part().error.endswith("no worker leased the mail.")


def test_the_age_of_a_scheduled_mail_counts_from_its_send_at(database: str) -> None:
    put_in_outbox()
    Mail.objects.update(send_at=database_now(database) + 20 * HOUR)
    let_pass(30 * HOUR)
    assert settle() == {}
    let_pass(15 * HOUR)
    assert settle() == {"failed": 1}


def test_a_waiting_mail_with_event_feedback_does_not_fail_at_the_age_limit(database: str) -> None:
    put_in_outbox()
    Mail.objects.update(accepted_at=only_part().created_at)
    let_pass(timedelta(days=2))
    with recorded_signals() as heard:
        assert settle() == {"changed meanwhile": 1}
    assert (only_part().state, heard.signals) == ("accepted", ["post_send"])
    assert [one.status for one in stored_recipients()] == ["queued"]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.FAILED, State.PARKED, State.CANCELLED])
def test_reconcile_leaves_final_states_alone(database: str, state: Mail.State) -> None:
    put_in_outbox()
    Mail.objects.update(state=state)
    let_pass(timedelta(days=5))
    before = Mail.objects.values().get()
    assert settle() == {}
    assert Mail.objects.values().get() == before


# Many


def test_reconcile_handles_each_of_many_mails_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "SLICE", 2)
    lost = [unknown() for _ in range(5)]
    assert settle() == {"unknown": 5}
    posts_get_through(lost[0], after=6 * HOUR)
    let_pass(timedelta(seconds=reconcile.RECHECK_DELAY))
    assert settle() == {"waiting": 5}
    assert {ours(one).state for one in lost} == {"waiting"}


def test_reconcile_needs_few_queries_and_uses_indexes(database: str) -> None:
    lost = unknown()
    posts_get_through(lost)
    for number in range(20):
        neighbour(lost, number * SECOND, seen=MINUTE)
    with CaptureQueriesContext(connections[database]) as queries:
        assert reconcile.reconcile_mail(Mail.objects.select_related("message").get(pk=lost.pk)) == "waiting"
    assert len(queries) <= 10
    looks = [
        query["sql"] for query in queries if query["sql"].startswith("SELECT") and "account" in query["sql"]
    ]
    assert len(looks) == 3
    with connections[database].cursor() as cursor:
        if database == "postgres":
            cursor.execute("SET enable_seqscan = off")
        plans = []
        for sql in looks[1:]:
            cursor.execute(f"EXPLAIN {'' if database == 'postgres' else 'QUERY PLAN'} {sql}")
            plans.append(str(cursor.fetchall()))
        if database == "postgres":
            cursor.execute("RESET enable_seqscan")
    assert "mail_accepted" in plans[0]
    # SQLite has a name of its own for the index of a constraint.
    name = (
        "activity_of_an_account" if database == "postgres" else "sqlite_autoindex_sending_app_webhookactivity"
    )
    assert name in plans[1]


@on_postgresql
def test_a_decision_never_reads_the_index_of_unknown_mails(database: str) -> None:
    lost = Mail.objects.select_related("message").get(pk=unknown().pk)
    posts_get_through(lost)
    plans = plans_without_primary_key(database, "sending_app_mail", lambda: reconcile.reconcile_mail(lost))
    assert only_part().state == "waiting"
    assert "mail_unknown" not in plans


def test_an_unreadable_mail_does_not_block_the_reconciliation_of_others(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    poison, other = unknown(), unknown()
    OutboxMessage.objects.filter(pk=poison.message_id).update(content=b"{")
    posts_get_through(other)
    assert settle() == {"undecidable": 1, "waiting": 1}
    assert (ours(poison).state, ours(other).state) == ("unknown", "waiting")
    assert f"Mail {poison.pk} could not be reconciled: DecodeError at " in caplog.text
    assert (settle(), reconcile.anything_to_reconcile()) == ({}, False)


def test_reconcile_raises_when_the_database_goes_away(database: str) -> None:
    unknown()

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute), pytest.raises(OperationalError):
        settle()
    assert not Recipient.objects.exclude(status="queued").exists()
