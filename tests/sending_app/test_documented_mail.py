"""The examples of docs/mail.md, docs/message-attributes.md and docs/life-of-a-mail.md, run as they stand."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, send_mail
from django.utils.module_loading import import_string
from pytest_django import Settings

from sending_app.message import SendGridMessage
from tests.support.documents import block, blocks
from tests.support.sending.django_mail import HAS_MAILERS, LOCMEM, QUEUED, use_backend

#: What an example has from the sections above it.
BEFORE: dict[str, Any] = {"SendGridMessage": SendGridMessage, "EmailMessage": EmailMessage}


@pytest.fixture(autouse=True)
def eager(anymail: Callable[..., None]) -> None:
    """As in the tests of a project: nothing is posted."""
    anymail(EAGER_IN_TESTS=True)


@pytest.fixture
def locmem(settings: Settings) -> list[Any]:
    use_backend(settings, LOCMEM)
    return mail.outbox


def order() -> SendGridMessage:
    return SendGridMessage("Your order", "It is on its way.", "shop@example.com", ["ann@example.com"])


def test_the_backend_of_the_settings_exists() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/mail.md", "Set it up", 1), names)
    assert import_string(names["EMAIL_BACKEND"])
    exec(block("docs/anymail.md", "Steps"), names)
    assert {names["EMAIL_BACKEND"], names["MAILERS"]["default"]["BACKEND"]} == {QUEUED}


@pytest.mark.django_db
@pytest.mark.skipif(not HAS_MAILERS, reason="Django 5.2 has no MAILERS")
def test_each_mailer_of_the_settings_sends(settings: Settings, anymail: Callable[..., None]) -> None:
    names: dict[str, Any] = {}
    exec(block("docs/mail.md", "Set it up", 2), names)
    settings.MAILERS = names["MAILERS"]
    anymail(**names["ANYMAIL"])
    for using in settings.MAILERS:
        order().send(using=using)
    messages: list[Any] = mail.outbox
    assert [message.anymail_test_params.get("tags") for message in messages] == [None, None, ["news"]]


@pytest.mark.django_db
def test_an_account_is_chosen_by_its_name(settings: Settings, anymail: Callable[..., None]) -> None:
    names: dict[str, Any] = {}
    exec(block("docs/mail.md", "Set it up", 3), names)
    anymail(**names["ANYMAIL"])
    if HAS_MAILERS:
        del settings.MAILERS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Django 6.1 warns, as the page says
        exec(block("docs/mail.md", "Set it up", 4), names)
    messages: list[Any] = mail.outbox
    assert messages[0].sent_using == "news"


def test_the_direct_backend_takes_a_key(locmem: list[Any]) -> None:
    exec(block("docs/mail.md", "Set it up", 5), {})
    assert [message.to for message in locmem] == [["ann@example.com"]]


@pytest.mark.django_db
def test_the_status_has_ids_and_is_refreshed(settings: Settings) -> None:
    use_backend(settings, QUEUED)
    names: dict[str, Any] = {}
    exec(block("docs/mail.md", "What `send()` promises"), names)
    status = names["message"].anymail_status
    assert status.status == {"queued"}
    exec(block("docs/life-of-a-mail.md", "Delivery status"), names)
    assert names["kept"] == status.recipients["ann@example.com"].message_id
    assert names["moment"].what == "created"


def test_send_defaults_apply(locmem: list[Any], anymail: Callable[..., None]) -> None:
    names: dict[str, Any] = {}
    exec(block("docs/mail.md", "Send defaults"), names)
    anymail(**names["ANYMAIL"])
    order().send()
    (request,) = locmem[0].sendgrid_requests
    assert request["categories"] == ["shop"]
    assert request["ip_pool_name"] == "orders"


def test_a_receiver_skips_a_message(locmem: list[Any]) -> None:
    exec(block("docs/mail.md", "Signals"), {})
    assert send_mail("Hello", "Hello.", "shop@example.com", ["ann@closed.example"]) == 0
    assert send_mail("Hello", "Hello.", "shop@example.com", ["ann@example.com"]) == 1
    assert len(locmem) == 1


def test_each_example_of_an_attribute_makes_a_request(locmem: list[Any]) -> None:
    names = dict(BEFORE)
    examples = blocks("docs/message-attributes.md")
    assert len(examples) > 10
    for example in examples:
        number = len(locmem)
        exec(example.text, names)
        if len(locmem) == number:
            names["message"].send()
        assert locmem[-1].sendgrid_requests, example
    assert len(names["message"].anymail_status.message_id) == 2500


def test_an_address_for_replies_has_the_id(locmem: list[Any]) -> None:
    names = dict(BEFORE)
    exec(block("docs/life-of-a-mail.md", "An address with the id"), names)
    names["message"].send()
    (request,) = locmem[0].sendgrid_requests
    (reply_to,) = request["reply_to_list"]
    message_id = names["message"].anymail_status.message_id.replace("-", "")
    assert message_id in reply_to["email"]
