"""In a test run, the backends compose the real request and gather the message. Nothing leaves the process."""

import json
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, ClassVar
from unittest import mock

import pytest
from django.core import mail
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app import outbox, tasks
from sending_app.backends.direct import EmailBackend as Direct
from sending_app.backends.locmem import EmailBackend as Locmem
from sending_app.exceptions import CancelSend, ConfigurationError, InvalidAddress, TooLarge
from sending_app.message import SendGridMessage
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.signals import post_send, pre_send
from tests.support.databases import OnPostgres
from tests.support.sending import project_tests
from tests.support.sending.django_mail import (
    DIRECT,
    LOCMEM,
    QUEUED,
    django_message,
    mailer_settings,
    receiver_connected,
    use_backend,
)
from workers.app import app

Change = Callable[..., None]


def request_of(message: Any, number: int = 0) -> dict[str, Any]:
    requests: list[dict[str, Any]] = message.sendgrid_requests
    return requests[number]


def gathered() -> list[Any]:
    return mail.outbox


class Backend(SimpleTestCase):
    """The cases of each backend."""

    __test__ = False
    backend: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        # Not of the class: the fixture of all tests needs the Redis of the settings.
        changed = override_settings(
            ANYMAIL=project_tests.ANYMAIL,
            DEFAULT_FROM_EMAIL="shop@example.com",
            **mailer_settings(self.backend),
        )
        self.enterContext(changed)
        self.enterContext(project_tests.broker_away())
        self.enterContext(project_tests.no_connections())

    def send(self, **attributes: Any) -> Any:
        """Send a message, and return its copy in the outbox."""
        before = len(mail.outbox)
        assert django_message(**attributes).send() == 1
        assert len(mail.outbox) == before + 1
        return mail.outbox[-1]

    def test_the_message_is_gathered_with_the_request_that_sendgrid_would_get(self) -> None:
        message = django_message(
            to=["Ann <ann@example.com>"],
            cc=["carl@example.com"],
            metadata={"order": 7},
            attachments=[("a.txt", "text", "text/plain")],
        )
        assert message.send() == 1
        (copied,) = gathered()
        assert copied is not message
        for sent in (message, copied):
            ids = sent.anymail_status.message_id
            assert uuid.UUID(ids).version == 7
            assert sent.anymail_status.status == {"queued"}
            assert sent.anymail_status.recipients.keys() == {"ann@example.com", "carl@example.com"}
            assert sent.sendgrid_requests == [
                {
                    "personalizations": [
                        {
                            "to": [{"email": "ann@example.com", "name": "Ann"}],
                            "cc": [{"email": "carl@example.com"}],
                            "custom_args": {"anymail_id": ids},
                        }
                    ],
                    "from": {"email": "shop@example.com"},
                    "subject": "Hello",
                    "content": [{"type": "text/plain", "value": "It is on its way."}],
                    "custom_args": {"order": "7"},
                    "categories": ["shop"],
                    "tracking_settings": {"click_tracking": {"enable": True}},
                    "attachments": [{"content": "dGV4dA==", "filename": "a.txt", "type": "text/plain"}],
                }
            ]
        assert copied.sent_using == "default"

    def test_a_large_batch_has_all_its_requests(self) -> None:
        sent = self.send(to=[f"{number}@example.com" for number in range(1001)], merge_data={})
        assert [len(each["personalizations"]) for each in sent.sendgrid_requests] == [1000, 1]
        assert len(sent.anymail_status.message_id) == 1001

    def test_a_later_change_of_the_message_leaves_the_copy_alone(self) -> None:
        message = django_message(metadata={"order": 1})
        message.send()
        message.metadata["order"] = 2
        message.to.append("bob@example.com")
        message.send()
        first, second = gathered()
        assert (first.to, first.metadata) == (["ann@example.com"], {"order": 1})
        assert request_of(second)["custom_args"] == {"order": "2"}
        assert first.anymail_status.message_id != second.anymail_status.message_id

    def test_params_have_the_attributes_after_the_send_defaults(self) -> None:
        message = SendGridMessage(
            subject="Hello",
            body="Text",
            to=["Ann <ann@example.com>", '"a b"@example.com'],
            cc=["carl@example.com"],
            reply_to=["help@example.com"],
            headers={"X-Order": "7"},
            tags=["order"],
            metadata={"order": 7},
            template_id="d-1",
            merge_data={"ann@example.com": {"name": "Ann"}},
            merge_global_data={"shop": "Ours"},
            merge_headers={"ann@example.com": {"X-A": "1"}},
            merge_metadata={"ann@example.com": {"user": 1}},
            track_opens=False,
            send_at=date(2026, 1, 2),
            esp_extra={"asm": {"group_id": 3}},
        )
        message.attach_alternative("<p>Text</p>", "text/html")
        message.attach_alternative("<html amp>", "text/x-amp-html")
        message.attach("a.pdf", b"%PDF", "application/pdf")
        message.send()
        params = gathered()[0].anymail_test_params
        assert str(params.pop("from")) == "shop@example.com"
        assert [str(one) for one in params.pop("to")] == ["Ann <ann@example.com>", '"a b"@example.com']
        assert [one.addr_spec for one in params.pop("cc")] == ["carl@example.com"]
        assert [one.addr_spec for one in params.pop("reply_to")] == ["help@example.com"]
        (file,) = params.pop("attachments")
        assert (file.name, file.content, file.mimetype) == ("a.pdf", b"%PDF", "application/pdf")
        assert params == {
            "bcc": [],
            "subject": "Hello",
            "text_body": "Text",
            "html_body": "<p>Text</p>",
            "alternatives": [("<html amp>", "text/x-amp-html")],
            "extra_headers": {"X-Order": "7"},
            "tags": ["shop", "order"],
            "metadata": {"order": 7},
            "template_id": "d-1",
            "merge_data": {"ann@example.com": {"name": "Ann"}},
            "merge_global_data": {"shop": "Ours"},
            "merge_header_data": {"ann@example.com": {"X-A": "1"}},
            "merge_metadata": {"ann@example.com": {"user": 1}},
            "track_clicks": True,
            "track_opens": False,
            "send_at": datetime(2026, 1, 2, tzinfo=UTC),
            "asm": {"group_id": 3},
            "is_batch_send": True,
        }

    def test_params_leave_out_what_is_not_set(self) -> None:
        params = self.send(track_clicks=None).anymail_test_params
        assert params.keys() == {
            "from",
            "to",
            "cc",
            "bcc",
            "reply_to",
            "subject",
            "text_body",
            "tags",
            "is_batch_send",
        } | {"extra_headers"}
        assert params["is_batch_send"] is False

    def test_esp_extra_may_bring_the_sender_and_the_recipients(self) -> None:
        params = self.send(
            esp_extra={
                "from": {"email": "other@example.com"},
                "template_id": "d-2",
                "personalizations": [{"to": [{"email": "bob@example.com"}]}],
            }
        ).anymail_test_params
        assert str(params["from"]) == "other@example.com"
        assert [str(one) for one in params["to"]] == ["bob@example.com"]
        assert params["template_id"] == "d-2"

    def test_errors_of_composing_are_raised_and_nothing_is_gathered(self) -> None:
        with pytest.raises(InvalidAddress):
            django_message(to=["nobody"]).send()
        with pytest.raises(TooLarge):
            django_message(to=[f"{number}@example.com" for number in range(1001)]).send()
        assert mail.outbox == []

    def test_pre_send_may_change_and_cancel_a_message(self) -> None:
        def receive(message: Any, **_: Any) -> None:
            if message.subject == "Never":
                raise CancelSend
            message.subject = "Changed"

        with receiver_connected(pre_send, receive):
            assert django_message(subject="Never").send() == 0
            assert self.send().subject == "Changed"
        assert request_of(mail.outbox[0])["subject"] == "Changed"


class PostingBackend(Backend):
    """A backend whose `send()` returns after SendGrid's answer."""

    __test__ = False
    sender: ClassVar[type]

    def test_post_send_is_sent_and_its_error_is_raised(self) -> None:
        receiver = mock.Mock(side_effect=[None, ZeroDivisionError])
        with receiver_connected(post_send, receiver):
            message = django_message()
            message.send()
            with pytest.raises(ZeroDivisionError):
                django_message().send()
        assert receiver.call_args_list[0] == mock.call(
            signal=post_send,
            sender=self.sender,
            message=message,
            status=message.anymail_status,
            esp_name="SendGrid",
        )
        assert message.anymail_status.esp_response.status_code == 202
        assert message.anymail_status.esp_response.headers["X-Message-Id"]
        assert len(mail.outbox) == 2


class DirectTests(PostingBackend):
    __test__ = True
    backend, sender = DIRECT, Direct


class LocmemTests(PostingBackend):
    __test__ = True
    backend, sender = LOCMEM, Locmem

    @override_settings(ANYMAIL={"EAGER_IN_TESTS": False})
    def test_locmem_needs_neither_key_nor_test_run(self) -> None:
        del mail.outbox
        try:
            mailer = Locmem()
            assert mail.outbox == []
            assert mailer.send_messages([django_message()]) == 1
            assert len(mail.outbox) == 1
        finally:
            mail.outbox = []

    def test_a_sent_message_can_be_pickled(self) -> None:
        message = django_message()
        message.send()
        again = pickle.loads(pickle.dumps(message))
        assert again.anymail_status.message_id == message.anymail_status.message_id


class QueuedTests(Backend, TestCase):
    __test__ = True
    backend = QUEUED

    def test_the_rows_are_in_the_transaction_of_the_test_and_no_worker_is_woken(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            sent = self.send(to=["ann@example.com", "bob@example.com"])
        assert callbacks == []
        row = Mail.objects.get()
        assert row.state == Mail.State.WAITING
        ids = set(Recipient.objects.filter(mail=row).values_list("message_id", flat=True))
        assert ids == {uuid.UUID(sent.anymail_status.message_id)}

    def test_no_row_of_another_test_is_left(self) -> None:
        assert not OutboxMessage.objects.exists()

    def test_a_rolled_back_mail_is_gathered_and_leaves_no_row(self) -> None:
        with transaction.atomic(using=outbox.using()):
            self.send()
            transaction.set_rollback(True, using=outbox.using())
        assert not OutboxMessage.objects.exists()


class QueuedOnPostgresTests(OnPostgres, QueuedTests):
    pass


class CommittedTests(TransactionTestCase):
    def test_a_commit_wakes_no_worker_and_a_task_posts_nothing(self) -> None:
        with (
            override_settings(ANYMAIL=project_tests.ANYMAIL, **mailer_settings(QUEUED)),
            project_tests.broker_away(),
        ):
            with project_tests.no_connections(), transaction.atomic():
                django_message(from_email="shop@example.com").send()
            tasks.deliver_mails()
        assert Mail.objects.get().state == Mail.State.ACCEPTED


def test_outside_a_test_run_a_missing_key_is_an_error(settings: Settings, anymail: Change) -> None:
    anymail(SENDGRID_API_KEY=None)
    use_backend(settings, DIRECT)
    with pytest.raises(ConfigurationError, match="has no API key"):
        django_message().send()


def test_eager_in_tests_off_posts_to_the_server_of_the_settings(
    settings: Settings, sendgrid: FakeSendGrid
) -> None:
    use_backend(settings, DIRECT)
    message = django_message()
    message.send()
    assert len(sendgrid.accepted) == 1
    assert mail.outbox == []
    assert not hasattr(message, "anymail_test_params")


@pytest.mark.django_db(transaction=True)
def test_eager_in_tests_off_and_eager_tasks_post_at_the_commit_in_this_thread(
    settings: Settings, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    use_backend(settings, QUEUED)
    with transaction.atomic():
        django_message().send()
        assert not sendgrid.requests
    assert len(sendgrid.accepted) == 1
    assert Mail.objects.get().state == Mail.State.ACCEPTED


@pytest.mark.django_db
def test_eager_tasks_change_nothing_in_a_test_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    settings.ANYMAIL = project_tests.ANYMAIL
    use_backend(settings, QUEUED)
    with project_tests.no_connections():
        assert django_message(from_email="shop@example.com").send() == 1
    assert Mail.objects.get().state == Mail.State.WAITING


#: A process that is no test run, although there is a `mail.outbox`.
PROCESS = """
import django, json
from django.conf import settings
settings.configure(ANYMAIL={"SENDGRID_API_URL": "http://127.0.0.1:1/", "SENDGRID_API_KEY": "SG.fake"})
django.setup()
from django.core import mail
from sending_app.backends.direct import EmailBackend
from sending_app.exceptions import ConnectionFailed
mail.outbox = []
try:
    EmailBackend().send_messages([mail.EmailMessage("Hello", "Text", "a@example.com", ["b@example.com"])])
except ConnectionFailed as error:
    print(json.dumps([len(mail.outbox), type(error).__name__]))
"""


def test_a_process_that_runs_no_tests_posts() -> None:
    run = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [0, "ConnectionFailed"]
