"""--mail-to sends a real mail, and follows it to its first event."""

from collections.abc import Callable

import pytest
from pytest_django import Settings

from events_app.shared.facts import Level, Reading
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app.models import Recipient
from sending_app.monitoring import round_trip
from tests.support.commands import output_of
from tests.support.doctor import examine
from tests.support.sending.django_mail import DIRECT, post_due_mail, use_backend
from tests.support.sending.mail_events import event_payload, receive_events

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ADDRESS = "ops@example.org"


def follow(*work: Callable[[], object], seconds: int = 30) -> list[Reading]:
    """The readings of the probe. One after the other, `work` happens while it waits."""
    left = list(work)
    return list(round_trip.follow(ADDRESS, seconds, lambda _: left.pop(0)() if left else None))


def receive(kind: str) -> None:
    receive_events(event_payload(kind, Recipient.objects.get()))


@pytest.mark.usefixtures("database")
def test_each_step_is_told(sendgrid: FakeSendGrid) -> None:
    readings = follow(post_due_mail, lambda: receive("delivered"))
    assert [reading.labels for reading in readings] == [("created",), ("posted",), ("accepted",), ("event",)]
    assert {(reading.level, reading.subject) for reading in readings} == {(Level.OK, "Round trip of a mail")}
    assert readings[-1].text.startswith("The first events are back: delivered (")
    (mail,) = sendgrid.accepted_for(ADDRESS)
    assert mail.body["categories"] == ["doctor"]


def test_a_mail_that_bounces_has_come_round() -> None:
    last = follow(post_due_mail, lambda: receive("bounce"))[-1]
    assert last.level == Level.WARNING
    assert "The way works, but the mail was not delivered" in last.text


def test_without_a_worker_it_stands_in_the_outbox() -> None:
    last = follow(seconds=0)[-1]
    assert last.level == Level.ERROR
    assert last.text == "The mail is committed to the outbox, and nothing more happened within 0 s."
    assert "queue sendgrid.mail" in last.advice


def test_without_events_it_ends_at_sendgrid() -> None:
    last = follow(post_due_mail, seconds=1)[-1]
    assert last.text.startswith("SendGrid has accepted the mail, and nothing more happened")
    assert "Is the Event Webhook on" in last.advice


def test_a_mail_that_sendgrid_refuses(sendgrid: FakeSendGrid) -> None:
    sendgrid.refused = [ADDRESS]
    last = follow(post_due_mail)[-1]
    assert last.level == Level.ERROR
    assert last.text.startswith("The mail has failed: ")


def test_a_mail_that_somebody_cancels(sendgrid: FakeSendGrid) -> None:
    sendgrid.always(responses.rate_limited(600))
    last = follow(post_due_mail, lambda: output_of("outbox", "cancel", "--all"))[-1]
    assert last.text.startswith("The mail was cancelled: ")


def test_an_account_that_is_paused(sendgrid: FakeSendGrid) -> None:
    sendgrid.always(responses.rate_limited(600))
    last = follow(post_due_mail, seconds=1)[-1]
    assert last.level == Level.ERROR
    assert "outbox status" in last.advice


def test_the_direct_backend_has_no_outbox(settings: Settings) -> None:
    use_backend(settings, DIRECT)
    first, last = follow(seconds=0)
    assert (first.labels, first.level) == (("accepted",), Level.OK)
    assert last.text.startswith("SendGrid has accepted the mail, and nothing more happened")


def test_a_backend_that_is_not_ours_cannot_be_followed(settings: Settings) -> None:
    use_backend(settings, "django.core.mail.backends.dummy.EmailBackend")
    (only,) = follow()
    assert only.text == "The mail cannot be followed: its backend gave it no id."
    assert "backend of sending_app" in only.advice


def test_a_mail_that_cannot_be_sent(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="")
    (only,) = follow()
    assert "has no API key" in only.text
    assert only.level == Level.ERROR


def test_the_command_sends_it_after_its_examination(sendgrid: FakeSendGrid) -> None:
    run = examine("--mail-to", ADDRESS, "--wait", "1")
    assert run.exit_code == 1
    assert run.lines[-1].subject == "Round trip of a mail"
