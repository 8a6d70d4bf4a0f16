"""Receivers are notified once of every mail's result, and cannot change the result."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app import signals
from sending_app.backends.queued import EmailBackend
from sending_app.mail import AttachedFile
from sending_app.message import SendGridMessage, SendStatus
from sending_app.models import Mail, OutboxMessage
from sending_app.outcome import notify
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import deliver, sendgrid_double
from tests.support.sending.mail_events import stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Iterator[FakeSendGrid]:
    with sendgrid_double(anymail) as found:
        yield found


def test_post_send_has_the_message_status_and_response(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail("Ann@Example.com", cc=["bob@example.com"]))
    with recorded_signals() as heard:
        deliver()
    ((name, found),) = heard.calls
    assert (name, found["sender"], found["esp_name"]) == ("post_send", EmailBackend, "SendGrid")
    message, status = found["message"], found["status"]
    assert isinstance(message, SendGridMessage)
    assert (message.subject, message.to, message.cc) == (
        "Your order",
        ["Ann@Example.com"],
        ["bob@example.com"],
    )
    assert isinstance(status, SendStatus)
    assert message.anymail_status is status
    assert (status.status, status.message_id) == ({"queued"}, str(stored_recipients()[0].message_id))
    assert set(status.recipients) == {"Ann@Example.com", "bob@example.com"}
    assert status.esp_response.status_code == 202
    assert "Authorization" not in status.esp_response.request.headers


def test_send_failed_has_the_message_status_and_error(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400))
    put_in_outbox()
    with recorded_signals() as heard:
        deliver()
    ((name, found),) = heard.calls
    assert (name, found["sender"], found["esp_name"]) == ("send_failed", EmailBackend, "SendGrid")
    assert found["error"] == only_part().error == "Bad Request"
    assert found["status"].status == {"failed"}
    assert found["message"].to == ["ann@example.com"]


def test_receivers_are_notified_of_each_mail_of_a_split_message(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sending_app.api.payload.MAX_RECIPIENTS", 2)
    put_in_outbox(mail(*(f"{n}@example.com" for n in range(3)), batch=True))
    assert len(all_parts()) == 2
    with recorded_signals() as heard:
        deliver()
    assert [found["message"].to for _, found in heard.calls] == [
        ["0@example.com", "1@example.com"],
        ["2@example.com"],
    ]
    first, second = (found["status"] for _, found in heard.calls)
    assert first.message_id == {str(one.message_id) for one in stored_recipients()[:2]}
    assert second.message_id == str(stored_recipients()[2].message_id)


def test_a_notified_receiver_that_raises_changes_nothing_and_stops_no_other(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(**_: Any) -> None:
        raise RuntimeError("the shop is closed")

    put_in_outbox()
    put_in_outbox()
    signals.post_send.connect(raising)
    try:
        with recorded_signals() as heard:
            assert deliver() == {"accepted": 2}
    finally:
        signals.post_send.disconnect(raising)
    assert heard.signals == ["post_send", "post_send"]
    assert [one.state for one in all_parts()] == ["accepted", "accepted"]
    assert len(sendgrid.requests) == 2
    reports = [record for record in caplog.records if record.name == "events_app.failures"]
    assert [record.__dict__["mail"] for record in reports] == [mail.pk for mail in all_parts()]
    name, at = f"{__name__}.{raising.__qualname__}", f"{__file__}:{raising.__code__.co_firstlineno + 1}"
    assert reports[0].getMessage() == f"Receiver {name} of post_send failed: RuntimeError at {at}"
    assert "the shop is closed" not in caplog.text


def test_receivers_are_notified_outside_a_transaction_after_the_outcome_is_recorded(
    database: str, sendgrid: FakeSendGrid
) -> None:
    def look(**_: Any) -> None:
        seen.append((connections[database].in_atomic_block, only_part().state))

    seen: list[tuple[bool, str]] = []
    signals.post_send.connect(look)
    signals.send_failed.connect(look)
    try:
        put_in_outbox()
        deliver()
        Mail.objects.all().delete()
        put_in_outbox()
        sendgrid.next(responses.error(400))
        deliver()
    finally:
        signals.post_send.disconnect(look)
        signals.send_failed.disconnect(look)
    assert seen == [(False, "accepted"), (False, "failed")]


def test_notify_without_receivers_runs_no_query(database: str) -> None:
    put_in_outbox()
    found = only_part()
    found.personalizations = None
    with CaptureQueriesContext(connections[database]) as queries:
        notify.accepted(found)
        notify.failed(found, "why")
    assert len(queries) == 0


def test_an_unreadable_mail_is_logged_and_notifies_no_receiver(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    OutboxMessage.objects.update(content=b"{}")
    with recorded_signals() as heard:
        notify.failed(only_part(), "why")
    assert heard.calls == []
    text = f"Mail {only_part().pk}: receivers are not notified, as the content cannot be read: "
    assert [message for message in caplog.messages if message.startswith(text)]


def test_the_log_names_a_failed_mail_without_addresses(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    sendgrid.next(responses.error(400))
    deliver()
    (record,) = (one for one in caplog.records if one.name == "sending_app.outcome.notify")
    assert record.levelno == logging.ERROR
    pk = only_part().pk
    assert record.getMessage() == (
        f"Mail {pk} of message {only_part().message_id} failed: `manage.py outbox show {pk}` shows the error"
    )


def test_attachments_are_not_read_for_notified_receivers(database: str, sendgrid: FakeSendGrid) -> None:
    file = AttachedFile(content=b"x" * 1000, filename="a.pdf", type="application/pdf")
    put_in_outbox(mail(attachments=[file]))
    with recorded_signals() as heard:
        deliver()
    assert heard.calls[0][1]["message"].attachments == []


def test_a_cc_recipient_of_a_batch_has_the_message_id_of_the_last_copy(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", cc=["eve@example.com"], batch=True))
    with recorded_signals() as heard:
        deliver()
    status = heard.calls[0][1]["status"]
    assert status.recipients["eve@example.com"].message_id == status.recipients["bob@example.com"].message_id
