"""The queued backend: a mail leaves if and only if the caller's transaction commits, and then soon."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.transaction import TransactionManagementError
from pytest_django import Settings

from events_app.shared import redis
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app import tasks
from sending_app.backends.queued import EmailBackend
from sending_app.exceptions import InvalidAddress, TooLarge
from sending_app.message import SendGridMessage
from sending_app.models import Attachment, Mail, OutboxMessage, Recipient
from sending_app.signals import post_send, pre_send, send_failed
from tests.support.sending.django_mail import (
    HAS_MAILERS,
    QUEUED,
    connection_of,
    django_message,
    personalization_to,
    post_due_mail,
    receiver_connected,
    use_backend,
    without_ids,
)

Change = Callable[..., None]

pytestmark = [
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
    pytest.mark.usefixtures("queued"),
]


@pytest.fixture
def queued(settings: Settings, sendgrid: FakeSendGrid) -> None:
    use_backend(settings, QUEUED)


class WakeUps:
    """What waits in the broker."""

    def __init__(self) -> None:
        self._server = redis.for_workers()

    def of(self, queue: str) -> int:
        return int(self._server.llen(queue))

    @property
    def mail(self) -> int:
        return self.of(tasks.MAIL)

    @property
    def bulk(self) -> int:
        return self.of(tasks.BULK)

    def clear(self) -> None:
        self._server.delete(tasks.MAIL, tasks.BULK)


@pytest.fixture(autouse=True)
def wake_ups() -> Iterator[WakeUps]:
    found = WakeUps()
    found.clear()
    yield found
    found.clear()


def kept() -> int:
    """Messages in the outbox, as this connection sees it."""
    return OutboxMessage.objects.count()


# The caller's transaction


def test_without_a_transaction_the_mail_is_in_the_outbox_when_send_returns(
    database: str, wake_ups: WakeUps, sendgrid: FakeSendGrid
) -> None:
    assert django_message().send() == 1
    assert OutboxMessage.objects.using(database).count() == 1
    assert (wake_ups.mail, wake_ups.bulk) == (1, 0)
    assert not sendgrid.requests
    post_due_mail()
    assert len(sendgrid.accepted) == 1


def test_the_mail_is_rolled_back_with_the_callers_transaction(
    database: str, wake_ups: WakeUps, sendgrid: FakeSendGrid
) -> None:
    message = django_message(attachments=[("a.txt", "a", "text/plain")])
    with transaction.atomic(using=database):
        message.send()
        assert kept() == 1
        assert message.anymail_status.message_id
        transaction.set_rollback(True, using=database)
    for model in (OutboxMessage, Mail, Recipient, Attachment):
        assert model._default_manager.using(database).count() == 0
    assert wake_ups.mail == 0
    post_due_mail()
    assert not sendgrid.requests


def test_the_wake_up_is_sent_on_commit_in_order(database: str, wake_ups: WakeUps) -> None:
    seen = []
    with transaction.atomic(using=database):
        transaction.on_commit(lambda: seen.append(wake_ups.mail), using=database)
        django_message().send()
        transaction.on_commit(lambda: seen.append(wake_ups.mail), using=database)
        assert wake_ups.mail == 0
    assert seen == [0, 1]
    assert wake_ups.mail == 1


def test_a_rolled_back_savepoint_removes_only_its_own_mail(
    database: str, wake_ups: WakeUps, sendgrid: FakeSendGrid
) -> None:
    with transaction.atomic(using=database):
        django_message(subject="outer").send()
        with transaction.atomic(using=database):
            django_message(subject="inner").send()
            transaction.set_rollback(True, using=database)
        with transaction.atomic(using=database):
            django_message(subject="another").send()
        assert wake_ups.mail == 0
    assert wake_ups.mail == 1  # for both: nobody has heard it when the second comes
    post_due_mail()
    assert [one.body["subject"] for one in sendgrid.accepted] == ["outer", "another"]


def test_a_transaction_on_another_database_does_not_matter(database: str, wake_ups: WakeUps) -> None:
    other = "postgres" if database == "default" else "default"
    with transaction.atomic(using=other):
        django_message().send()
        assert wake_ups.mail == 1
        transaction.set_rollback(True, using=other)
    assert OutboxMessage.objects.using(database).count() == 1


def test_with_autocommit_off_the_wake_up_is_left_to_the_tick(database: str, wake_ups: WakeUps) -> None:
    transaction.set_autocommit(False, using=database)
    try:
        django_message().send()
        transaction.commit(using=database)
    finally:
        transaction.set_autocommit(True, using=database)
    assert OutboxMessage.objects.using(database).count() == 1
    assert wake_ups.mail == 0


def test_send_in_a_broken_transaction_raises_the_database_error(database: str, wake_ups: WakeUps) -> None:
    message = django_message()
    with transaction.atomic(using=database):
        transaction.set_rollback(True, using=database)
        with pytest.raises(TransactionManagementError):
            message.send()
        assert connection_of(fail_silently=True).send_messages([django_message()]) == 0
    assert message.anymail_status.recipients == {}
    assert wake_ups.mail == 0


# Wake-ups


def test_one_call_sends_one_wake_up_for_all_messages(wake_ups: WakeUps) -> None:
    assert connection_of().send_messages([django_message() for _ in range(3)]) == 3
    assert wake_ups.mail == 1


def test_each_lane_gets_one_wake_up(wake_ups: WakeUps) -> None:
    connection_of().send_messages(
        [django_message(), django_message(bulk=True), django_message(), django_message(bulk=True)]
    )
    assert (wake_ups.mail, wake_ups.bulk) == (1, 1)


def test_a_large_batch_wakes_the_bulk_lane(wake_ups: WakeUps, anymail: Change) -> None:
    anymail(SEND_BULK_ABOVE=2)
    django_message(to=["a@example.com", "b@example.com", "c@example.com"], merge_data={}).send()
    assert (wake_ups.mail, wake_ups.bulk) == (0, 1)


def test_without_a_stored_mail_no_wake_up_is_sent(wake_ups: WakeUps) -> None:
    connection = connection_of(fail_silently=True)
    assert connection.send_messages([django_message(to=["nobody"]), django_message(to=[])]) == 0
    assert (wake_ups.mail, wake_ups.bulk) == (0, 0)


def test_messages_before_an_invalid_one_are_stored_and_sent(
    wake_ups: WakeUps, sendgrid: FakeSendGrid
) -> None:
    with pytest.raises(InvalidAddress):
        connection_of().send_messages(
            [django_message(), django_message(bulk=True), django_message(to=["nobody"]), django_message()]
        )
    assert kept() == 2
    assert (wake_ups.mail, wake_ups.bulk) == (1, 1)
    post_due_mail()
    assert len(sendgrid.accepted) == 2


def test_messages_before_an_invalid_one_are_stored_inside_a_transaction(
    database: str, wake_ups: WakeUps
) -> None:
    with transaction.atomic(using=database):
        with pytest.raises(InvalidAddress):
            connection_of().send_messages([django_message(), django_message(to=["nobody"])])
        assert wake_ups.mail == 0
    assert OutboxMessage.objects.using(database).count() == 1
    assert wake_ups.mail == 1


def test_a_receiver_of_pre_send_may_send_by_the_same_mailer(wake_ups: WakeUps) -> None:
    connection = connection_of()

    def receiver(message: Any, **_: Any) -> None:
        if message.subject == "second":
            connection.send_messages([django_message(subject="of the receiver")])

    with receiver_connected(pre_send, receiver):
        connection.send_messages(
            [django_message(subject="first", bulk=True), django_message(subject="second", bulk=True)]
        )
    assert (wake_ups.mail, wake_ups.bulk) == (1, 1)


# Keys


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ({"api_key": "SG.in-code"}, "SENDGRID_API_KEY"),
        ({"api_url": "https://api.eu.sendgrid.com/v3/"}, "SENDGRID_API_URL"),
        ({"timeout": 7}, "REQUESTS_TIMEOUT"),
    ],
)
def test_options_in_code_that_workers_cannot_see_are_refused_with_their_setting(
    option: dict[str, Any], setting: str
) -> None:
    (name,) = option
    with pytest.raises(ImproperlyConfigured, match=rf"no {name} in code.* ANYMAIL\['{setting}'\]") as caught:
        EmailBackend(**option)
    assert "in-code" not in str(caught.value)


def test_an_api_key_in_code_is_refused_without_one_in_the_settings(anymail: Change) -> None:
    anymail(SENDGRID_API_KEY=None)
    with pytest.raises(ImproperlyConfigured, match="takes no api_key in code"):
        EmailBackend(api_key="SG.in-code")


def test_options_in_code_equal_to_the_settings_are_accepted(sendgrid: FakeSendGrid) -> None:
    connection = EmailBackend(api_key="SG.fake", api_url=sendgrid.url.removesuffix("/"))
    assert connection.send_messages([django_message()]) == 1


@pytest.mark.parametrize("key", [None, "SG.in-code"])
def test_an_alias_unknown_to_workers_is_refused(key: str | None) -> None:
    with pytest.raises(ImproperlyConfigured):
        EmailBackend(alias="news", api_key=key)


def test_the_api_key_is_in_no_row() -> None:
    django_message().send()
    for model in (OutboxMessage, Mail, Recipient):
        assert "SG.fake" not in str(
            [
                bytes(v) if isinstance(v, memoryview) else v
                for row in model._default_manager.values_list()
                for v in row
            ]
        )


# What is kept


def test_b13_a_batch_of_2500_is_sent_in_three_requests(sendgrid: FakeSendGrid) -> None:
    message = django_message(to=[f"n{number}@example.com" for number in range(2500)], merge_data={})
    assert message.send() == 1
    assert Mail.objects.count() == 3
    post_due_mail()
    arrived = [one for mail in sendgrid.accepted for one in mail.body["personalizations"]]
    assert [len(mail.body["personalizations"]) for mail in sendgrid.accepted] == [1000, 1000, 500]
    status = message.anymail_status
    assert {one["to"][0]["email"]: one["custom_args"]["anymail_id"] for one in arrived} == {
        address: one.message_id for address, one in status.recipients.items()
    }
    assert len(status.message_id) == 2500


def test_a_mail_that_is_too_large_raises_and_stores_nothing(wake_ups: WakeUps) -> None:
    message = django_message(bcc=[f"n{number}@example.com" for number in range(1000)])
    with pytest.raises(TooLarge) as caught:
        message.send()
    assert caught.value.email_message is message
    assert message.anymail_status.recipients == {}
    assert (kept(), wake_ups.mail) == (0, 0)


# post_send, from a worker


def test_post_send_is_sent_by_the_worker_and_not_by_send(sendgrid: FakeSendGrid) -> None:
    heard: list[dict[str, Any]] = []
    sent = django_message(to=["Ann <ann@example.com>"], tags=["a"])
    with receiver_connected(post_send, lambda **told: heard.append(told)):
        sent.send()
        assert not heard
        post_due_mail()
    (told,) = heard
    assert told["sender"] is EmailBackend
    assert told["esp_name"] == "SendGrid"
    message, status = told["message"], told["status"]
    assert isinstance(message, SendGridMessage)
    assert (message.subject, message.to, message.tags) == ("Hello", ["Ann <ann@example.com>"], ["a"])
    assert message.anymail_status is status
    assert status.message_id == sent.anymail_status.message_id
    assert status.recipients["ann@example.com"].status == "queued"
    assert status.esp_response.status_code == 202


def test_without_message_ids_post_send_has_none(anymail: Change) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    heard: list[Any] = []
    with receiver_connected(post_send, lambda status, **_: heard.append(status)):
        django_message().send()
        post_due_mail()
    assert heard[0].message_id is None
    assert heard[0].recipients["ann@example.com"].message_id is None


def test_b10_an_error_of_a_post_send_receiver_does_not_send_the_mail_twice(sendgrid: FakeSendGrid) -> None:
    def receiver(**_: Any) -> None:
        raise LookupError("a receiver's own")

    with receiver_connected(post_send, receiver):
        django_message().send()
        post_due_mail()
        post_due_mail()
    assert len(sendgrid.requests) == 1
    assert Mail.objects.get().state == Mail.State.ACCEPTED


def test_a_refused_mail_sends_send_failed(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400))
    heard: list[dict[str, Any]] = []
    with receiver_connected(send_failed, lambda **told: heard.append(told)):
        message = django_message()
        message.send()
        post_due_mail()
    (told,) = heard
    assert told["status"].recipients["ann@example.com"].status == "failed"
    assert told["status"].message_id == message.anymail_status.message_id
    assert "Bad Request" in told["error"]
    assert len(sendgrid.requests) == 1


def test_changes_of_a_pre_send_receiver_are_sent(sendgrid: FakeSendGrid) -> None:
    def receiver(message: Any, **_: Any) -> None:
        message.metadata = {"changed": 1}

    with receiver_connected(pre_send, receiver):
        django_message().send()
    post_due_mail()
    body = without_ids(sendgrid.accepted[0].body)
    assert body["custom_args"] == {"changed": "1"}
    assert body["personalizations"] == [personalization_to("ann@example.com")]


@pytest.mark.skipif(not HAS_MAILERS, reason="There is no MAILERS before Django 6.1")
def test_workers_use_the_api_key_of_mailers(sendgrid: FakeSendGrid, settings: Settings) -> None:
    use_backend(settings, QUEUED, api_key="SG.of-options", timeout=[1, 5])
    django_message().send()
    connection_of(api_key="SG.of-options").send_messages([django_message()])
    with pytest.raises(ImproperlyConfigured, match="takes no api_key in code"):
        connection_of(api_key="SG.in-code")
    post_due_mail()
    assert [mail.key for mail in sendgrid.accepted] == ["SG.of-options"] * 2
