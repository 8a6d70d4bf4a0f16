"""What a mail said goes when it has had its time, and the rest later; and nothing that is not done."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError

from events_app.shared.database import database_now
from sending_app import retention
from sending_app.mail import AttachedFile
from sending_app.models import FINAL, Attachment, Mail, OutboxMessage, Recipient, WebhookActivity
from sending_app.outcome import notify
from tests.support.databases import database_away
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State


@pytest.fixture(autouse=True)
def days(anymail: Callable[..., None]) -> None:
    anymail(OUTBOX_BODY_DAYS=7, OUTBOX_RETENTION_DAYS=30)


def keep(database: str, *ages: float, state: Mail.State = State.ACCEPTED) -> list[int]:
    """A mail for each number of days, that long ago sent and done; their ids."""
    now = database_now(database)
    made = []
    for age in ages:
        file = AttachedFile(content=b"x", filename="a.pdf", type="application/pdf")
        message = put_in_outbox(mail(attachments=[file]))
        at = now - timedelta(days=age)
        OutboxMessage.objects.filter(pk=message.pk).update(created_at=at)
        done = at if state in FINAL else None
        Mail.objects.filter(message=message).update(created_at=at, finished_at=done, state=state)
        made.append(message.pk)
    return made


def prune(steps: int = 100) -> bool:
    times = iter([True] * steps)
    return retention.remove_old_messages(lambda: next(times, False))


def left() -> list[int]:
    return list(OutboxMessage.objects.order_by("pk").values_list("pk", flat=True))


def full() -> list[int]:
    """Of which it is still known what they said."""
    with_body = set(OutboxMessage.objects.exclude(content=None).values_list("pk", flat=True))
    with_envelopes = set(Mail.objects.exclude(personalizations=None).values_list("message", flat=True))
    with_files = set(Attachment.objects.values_list("message", flat=True))
    assert with_body == with_envelopes == with_files
    assert with_body == set(OutboxMessage.objects.exclude(subject="").values_list("pk", flat=True))
    return sorted(with_body)


def test_retention_removes_the_content_first_and_the_rows_later(database: str) -> None:
    gone, empty, young = keep(database, 30.1, 7.1, 6.9)
    assert prune()
    assert (left(), full()) == ([empty, young], [young])
    assert Recipient.objects.count() == Mail.objects.count() == 2
    assert gone not in left()
    assert prune()
    assert (left(), full()) == ([empty, young], [young])


def test_without_the_retention_setting_rows_are_kept(database: str, anymail: Callable[..., None]) -> None:
    anymail(OUTBOX_RETENTION_DAYS=0)
    old = keep(database, 4000)
    assert prune()
    assert (left(), full()) == (old, [])


@pytest.mark.parametrize("state", [one for one in State if one not in FINAL])
def test_retention_keeps_unfinished_mails_whole(database: str, state: Mail.State) -> None:
    old = keep(database, 4000, state=state)
    assert prune()
    assert (left(), full()) == (old, old)


@pytest.mark.parametrize("state", FINAL)
def test_retention_counts_from_the_time_a_mail_was_finished(database: str, state: Mail.State) -> None:
    (old,) = keep(database, 100, state=state)
    Mail.objects.update(finished_at=database_now(database) - timedelta(days=6))
    assert prune()
    assert full() == [old]
    Mail.objects.update(finished_at=database_now(database) - timedelta(days=8))
    assert prune()
    assert (left(), full()) == ([old], [])


def test_retention_keeps_a_message_with_any_unfinished_batch(database: str) -> None:
    (one,) = keep(database, 100)
    first = all_parts()[0]
    Mail.objects.create(
        message_id=one, lane="mail", alias="default", created_at=first.created_at, due=first.due,
        recipient_count=1, personalizations=b"[]", state=State.PARKED,
    )  # fmt: skip
    assert prune()
    assert full() == [one]


def test_unfinished_mails_hide_no_old_mails_behind_them(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    stuck = keep(database, 100, 99, 98, state=State.PARKED)
    keep(database, 97, 96, 95)
    young = keep(database, 1)
    assert prune()
    assert left() == stuck + young


def test_retention_continues_where_it_ran_out_of_time(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    old = keep(database, *[100] * 5)
    assert not prune(steps=2)
    assert full() == old[4:]
    assert not prune(steps=3)
    assert (full(), left()) == ([], old[2:])
    assert not prune(steps=0)
    assert prune()
    assert left() == []


def test_messages_with_many_recipients_are_removed_in_small_slices(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_RECIPIENTS", 5)
    old = keep(database, *[100] * 4)
    Mail.objects.filter(message__in=old[1:3]).update(recipient_count=5)
    assert not prune(steps=2)
    assert full() == old[3:]
    assert prune()
    assert left() == []


def test_retention_of_an_empty_outbox_is_complete(database: str) -> None:
    assert prune()


def test_retention_raises_when_the_database_is_away(database: str) -> None:
    with database_away(database), pytest.raises(OperationalError):
        prune()


def test_event_feedback_of_a_mail_whose_content_was_removed_is_applied(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    keep(database, 8, state=State.FAILED)
    prune()
    with recorded_signals() as heard:
        receive_events(event_payload("delivered", stored_recipients()[0]))
    assert (all_parts()[0].state, stored_recipients()[0].status) == ("accepted", "delivered")
    assert heard.calls == []
    assert (
        f"Mail {all_parts()[0].pk}: receivers are not notified, as the content is deleted" in caplog.messages
    )
    notify.accepted(all_parts()[0])  # with nobody to hear it


def test_retention_removes_webhook_activity_no_longer_needed(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(OUTBOX_RETENTION_DAYS=0, SEND_MAX_AGE=3600)
    now = database_now(database)
    rows = [now - timedelta(days=1, hours=hours) for hours in (0.9, 1.1)]
    WebhookActivity.objects.bulk_create(WebhookActivity(account="a", at=at) for at in rows)
    assert prune()
    assert [row.at for row in WebhookActivity.objects.all()] == rows[:1]
