"""Mails sent again: new mails with new ids, and the same content."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from events_app.shared.changes import Operator
from events_app.shared.database import database_now
from fake_sendgrid.server import FakeSendGrid
from sending_app import outbox, retention
from sending_app.mail import MARKER, AttachedFile, ComposedMail, SharedContent
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.outcome import resend
from tests.support.sending.delivery import deliver
from tests.support.sending.outbox_mails import BODY, all_parts, mail, personalization, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

CONFIRMATION = uuid.UUID("7b9e4e3a-58cd-4b43-9a4b-2f0f5f0c5a11")
FILE = AttachedFile(content=b"%PDF", filename="invoice.pdf", type="application/pdf")


def kept(composed: ComposedMail | None = None, state: str = "accepted", **columns: Any) -> Mail:
    """A mail in this state."""
    message = put_in_outbox(composed)
    Mail.objects.filter(message=message).update(state=state, **columns)
    return all_parts()[-1]


def again(old: Mail, **options: Any) -> Mail:
    """Send the mail again, and return the new mail."""
    assert resend.resend_mails([old.pk], CONFIRMATION, **options)["resent"] == 1
    return all_parts()[-1]


def content_of(row: Mail) -> Any:
    return outbox.shared_content_of(row.message), outbox.files_of(row.message)


def addresses(row: Mail) -> list[str]:
    return list(row.recipients.order_by("pk").values_list("address", flat=True))


@pytest.mark.parametrize("state", ["accepted", "failed", "cancelled", "parked"])
def test_a_mail_is_sent_again_as_a_new_message_with_the_same_content(database: str, state: str) -> None:
    old = kept(
        mail("ann@example.com", cc=["bo@example.com"], attachments=[FILE], categories=["bill"], bulk=True),
        state,
    )
    new = again(old)
    assert (new.message_id != old.message_id, new.state, new.lane) == (True, "waiting", "bulk")
    assert new.due <= database_now(database)
    assert content_of(new) == content_of(old)
    assert addresses(new) == addresses(old)
    assert (new.message.subject, new.alias, new.attempts) == ("Your order", "default", 0)
    assert Mail.objects.get(pk=old.pk).state == state


def test_a_mail_sent_again_has_new_ids(database: str, sendgrid: FakeSendGrid) -> None:
    reply_to = [{"email": f"reply+{MARKER}@example.com"}]
    old = kept(mail("ann@example.com", reply_to_list=reply_to, custom_args={"order": "17"}))
    new = again(old)
    deliver()
    (request,) = sendgrid.accepted
    (row,) = new.recipients.all()
    assert row.message_id not in set(old.recipients.values_list("message_id", flat=True))
    args = request.body["personalizations"][0]["custom_args"]
    assert str(row.message_id) in args.values()
    assert request.body["custom_args"] == {"order": "17"}
    assert request.body["reply_to_list"] == [{"email": f"reply+{row.message_id.hex}@example.com"}]


def test_the_logs_of_both_mails_name_the_other(database: str) -> None:
    class Ann(Operator):
        name = "ann"

    old = kept()
    new = again(old, operator=Ann())
    assert Mail.objects.get(pk=old.pk).log[-1]["what"] == f"by ann: sent again as mail {new.pk}"
    assert [entry["what"] for entry in new.log] == [f"by ann: mail {old.pk} sent again"]


def test_a_mail_of_a_batch_is_sent_again_to_its_own_recipients(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.com" for number in range(1500)), batch=True))
    first, second = all_parts()
    Mail.objects.update(state="accepted")
    new = again(second)
    assert (new.recipient_count, addresses(new)) == (second.recipient_count, addresses(second))
    assert len(all_parts()) == 3
    assert first.recipients.count() == 1000


@pytest.mark.parametrize("hours", [-1, 1])
def test_only_a_send_at_in_the_future_is_kept(database: str, hours: int) -> None:
    send_at = int((database_now(database) + timedelta(hours=hours)).timestamp())
    given = {"to": [{"email": "ann@example.com"}], "send_at": send_at, "subject": "Hello"}
    shared = SharedContent(body={**BODY, "send_at": send_at}, extra={"send_at": send_at})
    composed = ComposedMail(
        shared=shared, personalizations=[replace(personalization("ann@example.com"), given=given)]
    )
    new = again(kept(composed))
    (copy,) = outbox.personalizations_of(new)
    times = [fields.get("send_at") for fields in (new_body(new), content_of(new)[0].extra, copy.given or {})]
    assert times == [send_at if hours > 0 else None] * 3
    assert (new.send_at is not None) == (hours > 0)
    assert (copy.given or {})["subject"] == "Hello"


def new_body(row: Mail) -> dict[str, Any]:
    body: dict[str, Any] = content_of(row)[0].body
    return body


def test_a_confirmation_sends_no_mail_twice(database: str) -> None:
    old = kept()
    again(old)
    assert resend.resend_mails([old.pk], CONFIRMATION) == Counter(again=1)
    assert OutboxMessage.objects.count() == 2
    assert resend.resend_mails([old.pk], uuid.uuid4())["resent"] == 1


@pytest.mark.parametrize("state", ["waiting", "posting", "unknown"])
def test_a_mail_that_a_worker_may_still_post_is_not_sent_again(database: str, state: str) -> None:
    old = kept(state=state)
    assert not resend.resendable_mails([old.pk])
    assert resend.resend_mails([old.pk], CONFIRMATION) == Counter()
    assert len(all_parts()) == 1


def test_a_mail_without_content_is_left_alone(database: str) -> None:
    old = kept(finished_at=database_now(database) - timedelta(days=400))
    OutboxMessage.objects.update(created_at=old.created_at - timedelta(days=400))
    retention.remove_old_messages(lambda: True)
    assert resend.count_not_resendable([old.pk]) == Counter(empty=1)
    assert resend.resend_mails([old.pk], CONFIRMATION) == Counter(empty=1)


def test_a_mail_with_refused_recipients_is_only_sent_again_by_its_id(database: str) -> None:
    old = kept(state="failed", refused=True)
    assert resend.resend_mails([old.pk], CONFIRMATION) == Counter(refused=1)
    assert again(old, with_refused=True).state == "waiting"


def test_unreadable_content_does_not_keep_other_mails_back(database: str) -> None:
    unreadable, readable = kept(), kept()
    OutboxMessage.objects.filter(pk=unreadable.message_id).update(content=b"{")
    counts = resend.resend_mails([unreadable.pk, readable.pk], CONFIRMATION)
    assert counts == Counter(resent=1, unreadable=1)
    assert Recipient.objects.count() == 3


def test_the_recipients_of_a_resend_are_counted(database: str) -> None:
    first, second = kept(mail("a@example.com", "b@example.com")), kept(mail("c@example.com"))
    assert resend.count_recipients(resend.resendable_mails([first.pk, second.pk])) == 3
    assert resend.count_recipients(resend.resendable_mails([])) == 0
