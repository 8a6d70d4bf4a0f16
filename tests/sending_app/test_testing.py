"""`sending_app.testing`: assertions about sent mails, and the work of workers in a test."""

import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.test import SimpleTestCase, TestCase, override_settings

from sending_app import outbox
from sending_app.delivery import sender
from sending_app.exceptions import ConfigurationError
from sending_app.message import SendGridMessage
from sending_app.models import Mail, Recipient
from sending_app.signals import post_send, send_failed
from sending_app.testing import assert_mail_sent, assert_no_mail_sent, drain
from tests.support.databases import OnPostgres
from tests.support.sending import project_tests
from tests.support.sending.django_mail import (
    HAS_MAILERS,
    LOCMEM,
    QUEUED,
    mailer_settings,
    receiver_connected,
)

DJANGO_LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


def shipped(**changes: Any) -> SendGridMessage:
    attributes: dict[str, Any] = {
        "subject": "Your order",
        "body": "It is on its way.",
        "from_email": "Shop <shop@example.com>",
        "to": ["Ann <ann@example.com>", "bob@example.com"],
        "cc": ["carl@example.com"],
        "bcc": ["dora@example.com"],
        "reply_to": ["help@example.com"],
        "tags": ["order"],
        "metadata": {"order": 7, "shop": "ours"},
        "template_id": "d-1",
        "merge_data": {"ann@example.com": {"name": "Ann", "items": [1, 2]}},
        "merge_global_data": {"shop": "Ours"},
    }
    return SendGridMessage(**{**attributes, **changes})


class Test(SimpleTestCase):
    backend = LOCMEM

    def setUp(self) -> None:
        super().setUp()
        # Not of the class: the fixture of all tests needs the Redis of the settings.
        self.enterContext(override_settings(ANYMAIL=project_tests.ANYMAIL, **mailer_settings(self.backend)))
        self.enterContext(project_tests.broker_away())
        self.enterContext(project_tests.no_connections())


class AssertionTests(Test):
    def test_each_argument_finds_the_mail(self) -> None:
        shipped().send()
        EmailMessage("Other", "Text", "shop@example.com", ["eve@example.com"]).send()
        expected: list[dict[str, Any]] = [
            {"to": "ann@example.com"},
            {"to": "BOB@example.com"},
            {"to": ["bob@example.com", "Anyone <ann@example.com>"]},
            {"cc": "carl@example.com"},
            {"bcc": ["dora@example.com"]},
            {"reply_to": "help@example.com"},
            {"from_email": "shop@example.com", "subject": "Your order"},
            {"body_contains": "on its way"},
            {"template_id": "d-1"},
            {"tags": ["order"]},
            {"tags": "order"},
            {"tags": ["order"], "metadata": {"order": 7}},
            {"merge_global_data": {"shop": "Ours"}},
            {"merge_data": {"ann@example.com": {"name": "Ann"}}},
        ]
        for each in expected:
            with self.subTest(each):
                assert assert_mail_sent(**each) is mail.outbox[0]
                with pytest.raises(AssertionError):
                    assert_no_mail_sent(**each)

    def test_each_argument_refuses_another_mail(self) -> None:
        shipped().send()
        unexpected: list[dict[str, Any]] = [
            {"to": "carl@example.com"},
            {"to": ["ann@example.com"]},
            {"cc": []},
            {"from_email": "other@example.com"},
            {"subject": "Your"},
            {"body_contains": "lost"},
            {"template_id": None},
            {"tags": ["order", "urgent"]},
            {"metadata": {"order": 8}},
            {"merge_global_data": {"other": "Ours"}},
            {"merge_data": {"bob@example.com": {"name": "Ann"}}},
        ]
        for each in unexpected:
            with self.subTest(each):
                with pytest.raises(AssertionError):
                    assert_mail_sent(**each)
                assert_no_mail_sent(**each)

    def test_send_defaults_count(self) -> None:
        shipped().send()
        assert_mail_sent(tags=["shop", "order"])

    def test_html_and_other_alternatives_are_searched(self) -> None:
        message = shipped()
        message.attach_alternative("<p>In HTML</p>", "text/html")
        message.attach_alternative("<html amp>", "text/x-amp-html")
        message.send()
        assert_mail_sent(body_contains="In HTML")
        assert_mail_sent(body_contains="<html amp>")

    def test_mails_in_djangos_own_backend_count(self) -> None:
        with override_settings(**mailer_settings(DJANGO_LOCMEM)):
            shipped().send()
        sent = assert_mail_sent(
            to="ann@example.com",
            from_email="shop@example.com",
            template_id="d-1",
            metadata={"order": 7},
            body_contains="on its way",
        )
        assert sent.subject == "Your order"

    def test_a_failure_says_what_was_sent_instead(self) -> None:
        shipped(template_id="d-2").send()
        shipped(to=["eve@example.com"]).send()
        with pytest.raises(AssertionError) as failure:
            assert_mail_sent(to="ann@example.com", template_id="d-1")
        assert (
            str(failure.value) == "No mail was sent with to='ann@example.com', template_id='d-1':\n"
            "1. another has template_id='d-2'\n"
            "2. another has to=['eve@example.com']"
        )

    def test_a_failure_without_any_mail_is_short(self) -> None:
        with pytest.raises(AssertionError, match=r"^No mail was sent with subject='Hello'\.$"):
            assert_mail_sent(subject="Hello")
        with pytest.raises(AssertionError, match=r"^No mail was sent\.$"):
            assert_mail_sent()

    def test_a_failure_with_many_large_mails_is_not_endless(self) -> None:
        for _ in range(30):
            shipped(subject="x" * 10_000).send()
        with pytest.raises(AssertionError) as failure:
            assert_mail_sent(subject="Hello")
        assert "... and 20 more" in str(failure.value)
        assert len(str(failure.value)) < 3000

    def test_count_is_the_number_of_such_mails(self) -> None:
        for _ in range(2):
            shipped().send()
        assert_mail_sent(count=2, subject="Your order")
        with pytest.raises(AssertionError, match=r"^2 mails, not 1, were sent with subject="):
            assert_mail_sent(count=1, subject="Your order")
        with pytest.raises(ValueError, match="assert_no_mail_sent"):
            assert_mail_sent(count=0)

    def test_an_unknown_argument_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="A mail has no recipient to compare; there are to, cc"):
            assert_mail_sent(recipient="ann@example.com")  # type: ignore[call-arg]

    def test_no_mail_at_all(self) -> None:
        assert_no_mail_sent()
        shipped().send()
        with pytest.raises(AssertionError, match=r"^No mail was expected:\n1\. to=.*, subject='Your order'$"):
            assert_no_mail_sent()


class DrainTests(Test, TestCase):
    backend = QUEUED

    def test_waiting_mails_are_accepted_and_post_send_is_called(self) -> None:
        message = shipped()
        message.send()
        shipped(bulk=True).send()
        receiver = mock.Mock()
        with receiver_connected(post_send, receiver):
            assert drain() == 2
        for mail_ in Mail.objects.all():
            assert (mail_.state, len(mail_.x_message_id)) == (Mail.State.ACCEPTED, 22)
        restored, status = (receiver.call_args_list[0].kwargs[name] for name in ("message", "status"))
        assert restored.template_id == "d-1"
        assert status.status == {"queued"}
        assert status.recipients["ann@example.com"] == message.anymail_status.recipients["ann@example.com"]
        assert status.esp_response.status_code == 202
        assert drain() == 0

    def test_refused_mails_fail_with_the_given_error(self) -> None:
        shipped(merge_data=None).send()
        receiver = mock.Mock()
        with receiver_connected(send_failed, receiver):
            assert drain(status_code=400, error="No such sender.") == 1
        assert receiver.call_args.kwargs["error"] == "No such sender."
        assert Mail.objects.get().state == Mail.State.FAILED
        assert {*Recipient.objects.values_list("status", flat=True)} == {"failed"}

    def test_a_refused_batch_is_divided_until_every_recipient_has_failed(self) -> None:
        shipped().send()
        assert drain(status_code=400) == 3
        assert {*Mail.objects.values_list("state", flat=True)} == {Mail.State.FAILED}
        assert {*Recipient.objects.values_list("status", flat=True)} == {"failed"}

    def test_a_mail_whose_account_pauses_waits_for_the_next_call(self) -> None:
        shipped().send()
        for status_code in (429, 401):
            assert drain(status_code=status_code) == 1
            assert Mail.objects.get().state == Mail.State.WAITING
        assert drain() == 1
        assert Mail.objects.get().state == Mail.State.ACCEPTED

    def test_an_answer_of_5xx_leaves_the_outcome_unknown(self) -> None:
        shipped().send()
        assert drain(status_code=503) == 1
        assert Mail.objects.get().state == Mail.State.UNKNOWN

    def test_a_receivers_error_is_raised_and_the_next_call_goes_on(self) -> None:
        shipped().send()
        shipped().send()
        broken = mock.Mock(side_effect=ZeroDivisionError)
        with receiver_connected(post_send, broken), pytest.raises(ZeroDivisionError):
            drain()
        assert drain() == 1
        assert {*Mail.objects.values_list("state", flat=True)} == {Mail.State.ACCEPTED}

    def test_mails_of_receivers_are_accepted_too_in_whatever_lane(self) -> None:
        def answer(message: SendGridMessage, **_: Any) -> None:
            if message.subject != "Thanks":
                shipped(subject="Thanks", bulk=not is_bulk).send()

        with receiver_connected(post_send, answer):
            for is_bulk in (False, True):
                shipped(subject="Your order", bulk=is_bulk).send()
                assert drain() == 2

    def test_a_database_error_of_a_receiver_is_raised_as_it_is_and_leaves_nothing_to_write(self) -> None:
        shipped().send()
        broken = mock.Mock(side_effect=OperationalError("mine"))
        with receiver_connected(post_send, broken), pytest.raises(OperationalError, match="mine"):
            drain()
        assert not sender.unwritten.writes
        assert Mail.objects.get().state == Mail.State.ACCEPTED

    def test_attachments_and_empty_outboxes_are_no_obstacle(self) -> None:
        assert drain() == 0
        shipped(attachments=[("a.txt", "text", "text/plain")]).send()
        assert drain() == 1

    def test_a_mail_of_an_unknown_mailer_is_an_error(self) -> None:
        if not HAS_MAILERS:
            self.skipTest("There is no MAILERS before Django 6.1")
        with override_settings(MAILERS={"news": {"BACKEND": QUEUED}}):
            shipped().send(using="news")
        with pytest.raises(ConfigurationError, match="There is no mailer 'news'"):
            drain()


class DrainOnPostgresTests(OnPostgres, DrainTests):
    def setUp(self) -> None:
        super().setUp()
        assert outbox.using() == "postgres"


#: `sending_app.testing` in a process without pytest.
PROCESS = """
import django, sys
from django.conf import settings
sys.modules["pytest"] = None
settings.configure(INSTALLED_APPS=["events_app", "sending_app"])
django.setup()
import sending_app.testing
"""


@pytest.mark.parametrize("module", ["sending_app.testing", "sending_app.backends.locmem"])
def test_the_module_needs_no_pytest(module: str) -> None:
    script = PROCESS.replace("sending_app.testing", module)
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
