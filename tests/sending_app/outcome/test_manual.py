"""Operator actions change mails, except mails in posting and mails that SendGrid is known to have."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from events_app.shared.database import database_now
from sending_app import retention
from sending_app.delivery import reconcile
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import manual, recipients
from sending_app.outcome.recipients import RankedStatus, RecipientUpdate
from tests.support.databases import on_postgresql, plans_without_primary_key
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State


def in_state(state: str, **columns: Any) -> Mail:
    """A mail to two recipients in this state."""
    put_in_outbox(mail("ann@example.com", "bo@example.com"))
    Mail.objects.filter(pk=only_part().pk).update(state=state, **columns)
    if state in (State.FAILED, State.CANCELLED):
        recipients.mark_failed(only_part())
    return only_part()


def statuses() -> list[tuple[str, int]]:
    return list(Recipient.objects.order_by("pk").values_list("status", "rank"))


def ago(**time: int) -> Any:
    return database_now(using()) - timedelta(**time)


QUEUED, FAILED = ("queued", 0), ("failed", 1)


# retry


def test_retry_makes_a_failed_mail_due(database: str) -> None:
    found = in_state("failed", error="No such template.", finished_at=ago(hours=1), attempts=2)
    assert statuses() == [FAILED, FAILED]
    assert manual.retry_mails([found.pk]) == Counter(retried=1)
    again = only_part()
    assert (again.state, again.error, again.finished_at, again.attempts) == ("waiting", "", None, 2)
    assert again.due <= database_now(database)
    assert again.log[-1]["what"] == "by hand: retried"
    assert statuses() == [QUEUED, QUEUED]


def test_retry_keeps_the_recipient_status_set_by_events(database: str) -> None:
    found = in_state("failed")
    pk = Recipient.objects.earliest("pk").pk
    with transaction.atomic(using=database):
        recipients.apply_updates(
            {pk: RecipientUpdate(RankedStatus("delivered", 4), database_now(database))}, database
        )
    manual.retry_mails([found.pk])
    assert statuses() == [("delivered", 4), QUEUED]


def test_a_retried_old_mail_does_not_fail_for_its_age_at_once(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SEND_MAX_AGE=3600)
    found = in_state("failed", created_at=ago(days=2), finished_at=ago(days=1))
    manual.retry_mails([found.pk])
    reconcile.reconcile_all()
    assert only_part().state == "waiting"
    assert only_part().message.created_at <= found.message.created_at


def test_retry_makes_a_deferred_mail_due_and_keeps_its_recipients_queued(database: str) -> None:
    found = in_state("waiting", due=ago(hours=-1), error="503: busy")
    assert manual.retry_mails([found.pk]) == Counter(retried=1)
    assert only_part().due <= database_now(database)
    assert statuses() == [QUEUED, QUEUED]


def test_retry_leaves_a_due_mail_alone(database: str) -> None:
    found = in_state("waiting")
    assert manual.retry_mails([found.pk]) == Counter()
    assert only_part().log == []


def test_retry_skips_a_mail_whose_content_was_removed(database: str, anymail: Callable[..., None]) -> None:
    anymail(OUTBOX_BODY_DAYS=1)
    found = in_state("failed", finished_at=ago(days=2))
    type(found.message).objects.update(created_at=ago(days=3))
    assert retention.remove_old_messages(lambda: True)
    assert manual.retry_mails([found.pk]) == Counter(empty=1)
    assert (only_part().state, statuses()) == ("failed", [FAILED, FAILED])


def test_retry_leaves_refused_recipients_alone_unless_asked(database: str) -> None:
    found = in_state("failed", refused=True, split_from=1, further_requests=20, paused_at=ago(hours=1))
    assert manual.retry_mails([found.pk]) == Counter(refused=1)
    assert (only_part().state, statuses()) == ("failed", [FAILED, FAILED])
    assert manual.retry_mails([found.pk], with_refused=True) == Counter(retried=1)
    again = only_part()
    assert (again.state, again.refused, again.split_from) == ("waiting", True, None)
    assert (again.further_requests, again.paused_at) == (0, None)
    assert statuses() == [QUEUED, QUEUED]


# cancel


@pytest.mark.parametrize("state", ["waiting", "unknown", "parked"])
def test_cancel_takes_mails_not_known_to_be_accepted(database: str, state: str) -> None:
    found = in_state(state, error="It is parked.")
    assert manual.cancel_mails([found.pk]) == Counter(cancelled=1)
    cancelled = only_part()
    assert (cancelled.state, cancelled.log[-1]["what"]) == ("cancelled", "by hand: cancelled")
    assert cancelled.finished_at is not None
    assert statuses() == [FAILED, FAILED]


# park


@pytest.mark.parametrize("state", ["waiting", "unknown", "posting"])
def test_park_holds_a_mail_until_an_operator_settles_it(
    database: str, anymail: Callable[..., None], state: str
) -> None:
    anymail(SEND_UNKNOWN_WAIT=120)
    found = in_state(state, due=ago(hours=1), attempted_at=ago(hours=1), unknown_since=ago(hours=1))
    assert manual.park_mails([found.pk]) == Counter(parked=1)
    reconcile.reconcile_all()
    parked = only_part()
    assert (parked.state, parked.error) == ("parked", "Parked by hand: SendGrid may have this mail already.")
    assert parked.log[-1]["what"] == "by hand: parked"
    assert statuses() == [QUEUED, QUEUED]
    assert manual.settle_mails([found.pk], sent=False) == Counter(settled=1)


@pytest.mark.parametrize("state", ["failed", "parked"])
def test_park_leaves_mails_alone_that_no_worker_posts(database: str, state: str) -> None:
    found = in_state(state)
    assert manual.park_mails([found.pk]) == Counter()
    assert only_part().state == state


# settle


@pytest.mark.parametrize("state", ["unknown", "parked"])
def test_settle_as_sent_marks_a_mail_accepted(database: str, state: str) -> None:
    found = in_state(state, error="Nobody knows.")
    assert manual.settle_mails([found.pk], sent=True) == Counter(settled=1)
    settled = only_part()
    assert (settled.state, settled.error) == ("accepted", "")
    assert settled.accepted_at == settled.finished_at is not None
    assert settled.log[-1]["what"] == "by hand: settled as sent"
    assert statuses() == [QUEUED, QUEUED]


@pytest.mark.parametrize("state", ["unknown", "parked"])
def test_settle_as_not_sent_makes_a_mail_due_again(
    database: str, state: str, anymail: Callable[..., None]
) -> None:
    anymail(SEND_MAX_AGE=3600)
    found = in_state(state, created_at=ago(days=2), due=ago(hours=-1), unknown_outcomes=3)
    assert manual.settle_mails([found.pk], sent=False) == Counter(settled=1)
    reconcile.reconcile_all()
    settled = only_part()
    assert (settled.state, settled.accepted_at, settled.unknown_outcomes) == ("waiting", None, 3)
    assert settled.due <= database_now(database)
    assert settled.log[-1]["what"] == "by hand: settled as not sent"


# Whatever is asked


def settle_as_sent(pks: list[int]) -> Counter[str]:
    return manual.settle_mails(pks, sent=True)


def settle_as_not_sent(pks: list[int]) -> Counter[str]:
    return manual.settle_mails(pks, sent=False)


ALL = pytest.mark.parametrize(
    "act", [manual.retry_mails, manual.cancel_mails, manual.park_mails, settle_as_sent, settle_as_not_sent]
)


@ALL
def test_operator_actions_leave_a_mail_in_delivery_alone(
    database: str, act: Callable[[list[int]], Counter[str]]
) -> None:
    found = in_state("posting", attempt_token=7, due=ago(seconds=-60))
    assert act([found.pk]) == Counter(in_progress=1)
    assert (only_part().state, only_part().attempt_token, only_part().log) == ("posting", 7, [])


@on_postgresql
@ALL
@pytest.mark.parametrize("state", ["waiting", "unknown", "parked"])
def test_operator_actions_find_mails_by_id_alone(
    database: str, act: Callable[[list[int]], Counter[str]], state: str
) -> None:
    """PostgreSQL would prefer the index of all mails in the state."""
    found = in_state(state, due=ago(seconds=-60))
    plans = plans_without_primary_key(database, "sending_app_mail", lambda: act([found.pk]))
    assert not {"mail_waiting", "mail_posting", "mail_unknown"} & set(re.findall(r"\w+", plans))


@ALL
@pytest.mark.parametrize("state", ["accepted", "cancelled"])
def test_operator_actions_leave_accepted_and_cancelled_mails_alone(
    database: str, act: Callable[[list[int]], Counter[str]], state: str
) -> None:
    found = in_state(state, finished_at=ago(hours=1))
    assert act([found.pk]) == Counter()
    assert (only_part().state, only_part().finished_at) == (state, found.finished_at)


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (manual.retry_mails, "failed"),
        (manual.cancel_mails, "parked"),
        (manual.park_mails, "waiting"),
        (settle_as_not_sent, "parked"),
        (settle_as_not_sent, "unknown"),
    ],
)
def test_operator_actions_never_override_event_feedback(
    database: str, act: Callable[[list[int]], Counter[str]], state: str
) -> None:
    found = in_state(state, accepted_at=ago(hours=1))
    assert act([found.pk]) == Counter(accepted=1)
    assert only_part().state == "accepted"


@ALL
def test_operator_actions_take_only_the_given_mails(
    database: str, act: Callable[[list[int]], Counter[str]]
) -> None:
    found = in_state("parked")
    assert act([]) == act([found.pk + 1]) == Counter()
    assert only_part().state == "parked"


def test_the_querysets_of_operator_actions_match_the_mails_they_take(database: str) -> None:
    for state in State:
        put_in_outbox()
        Mail.objects.filter(pk=Mail.objects.latest("pk").pk).update(state=state, attempt_token=1)
    pks = list(Mail.objects.values_list("pk", flat=True))
    for takes, act, done in (
        (manual.unsettled_mails, settle_as_sent, "settled"),
        (manual.cancellable_mails, manual.cancel_mails, "cancelled"),
        (manual.retryable_mails, manual.retry_mails, "retried"),
    ):
        count = takes(pks).count()
        assert count
        assert act(pks) == Counter({done: count, "in_progress": 1})
