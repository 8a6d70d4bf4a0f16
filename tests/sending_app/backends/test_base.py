"""Django's mail API over both backends, as `EMAIL_BACKEND` and as `MAILERS`."""

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app import checks
from sending_app.exceptions import (
    CancelSend,
    ConfigurationError,
    InvalidAddress,
    SerializationError,
    UnsupportedFeature,
)
from sending_app.models import OutboxMessage
from sending_app.signals import pre_send
from tests.support.sending.django_mail import (
    BOTH_BACKENDS,
    HAS_MAILERS,
    REQUEST_BODY,
    SHARED_CONTENT,
    Arrived,
    connection_of,
    django_message,
    personalization_to,
    receiver_connected,
    use_backend,
    use_email_backend,
)

Change = Callable[..., None]

# Django 6.1 warns who sets the setting, here the tests.
of_the_setting = pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated")

WAYS = [pytest.param("EMAIL_BACKEND", marks=of_the_setting), *(["MAILERS"] if HAS_MAILERS else [])]


@pytest.fixture(params=WAYS)
def configured(request: pytest.FixtureRequest, settings: Settings, backend: str) -> str:
    """Django sends by the backend, whichever way it was told to."""
    (use_backend if request.param == "MAILERS" else use_email_backend)(settings, backend)
    return backend


# The sender


def test_a_sender_at_localhost_is_refused_with_the_setting_to_change(
    configured: str, arrived: Arrived, settings: Settings
) -> None:
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    with pytest.raises(InvalidAddress) as raised:
        mail.send_mail("Hello", "It is on its way.", None, ["ann@example.com"])
    assert str(raised.value) == (
        "SendGrid sends no mail from webmaster@localhost. Set DEFAULT_FROM_EMAIL (for error mails, "
        "SERVER_EMAIL), or the message's from_email, to a sender that you have verified at SendGrid"
    )
    with pytest.raises(InvalidAddress):
        mail.send_mail("Hello", "x", "The shop <shop@LOCALHOST.localdomain>", ["ann@example.com"])
    assert arrived() == []


@pytest.mark.parametrize("backend", [*BOTH_BACKENDS, "sending_app.backends.locmem.EmailBackend"])
def test_a_test_run_accepts_djangos_default_sender(
    configured: str, settings: Settings, anymail: Change
) -> None:
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    anymail(EAGER_IN_TESTS=True)
    mail.outbox = []
    assert mail.send_mail("Hello", "It is on its way.", None, ["ann@example.com"]) == 1
    (message,) = mail.outbox
    assert message.from_email == "webmaster@localhost"


# Django's functions


def test_send_mail_sends_one_mail(configured: str, arrived: Arrived) -> None:
    assert mail.send_mail("Hello", "It is on its way.", None, ["ann@example.com"]) == 1
    assert arrived() == [REQUEST_BODY]


def test_send_mail_sends_an_html_alternative(configured: str, arrived: Arrived) -> None:
    mail.send_mail("Hello", "It is on its way.", None, ["ann@example.com"], html_message="<p>Hello</p>")
    content = [*SHARED_CONTENT["content"], {"type": "text/html", "value": "<p>Hello</p>"}]
    assert arrived() == [{**REQUEST_BODY, "content": content}]


def test_send_mass_mail_sends_each_mail(configured: str, arrived: Arrived) -> None:
    mails = [("Hello", "It is on its way.", None, [name]) for name in ("ann@example.com", "bob@example.com")]
    assert mail.send_mass_mail(mails) == 2
    assert arrived() == [
        REQUEST_BODY,
        {**SHARED_CONTENT, "personalizations": [personalization_to("bob@example.com")]},
    ]


def test_mail_admins_sends_to_the_admins(configured: str, arrived: Arrived, settings: Settings) -> None:
    settings.ADMINS = ["ann@example.com"] if HAS_MAILERS else [("Ann", "ann@example.com")]
    settings.SERVER_EMAIL = "root@example.com"
    mail.mail_admins("Hello", "It is on its way.")
    assert arrived() == [{**REQUEST_BODY, "from": {"email": "root@example.com"}, "subject": "[Django] Hello"}]


def test_message_send_sends_one_mail(configured: str, arrived: Arrived) -> None:
    assert django_message().send() == 1
    assert arrived() == [REQUEST_BODY]


def test_a_connection_sends_and_counts_messages(configured: str, arrived: Arrived) -> None:
    connection = connection_of()
    assert connection.send_messages([]) == 0
    assert connection.send_messages(None) == 0
    with connection:
        assert connection.send_messages(django_message() for _ in range(3)) == 3
    assert arrived() == [REQUEST_BODY] * 3


def test_a_message_without_recipients_is_not_sent(configured: str, arrived: Arrived) -> None:
    assert django_message(to=[]).send() == 0
    assert (
        connection_of().send_messages([django_message(to=[]), django_message(to=[""]), django_message()]) == 1
    )
    assert arrived() == [REQUEST_BODY]


def test_the_checks_issue_no_django_warning(configured: str, sendgrid: FakeSendGrid) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [*checks.check_mail_settings(), *checks.check_mail_tasks()] == []


# fail_silently


def test_the_first_invalid_message_raises_and_the_rest_is_not_sent(configured: str, arrived: Arrived) -> None:
    with pytest.raises(InvalidAddress) as caught:
        connection_of().send_messages(
            [django_message(), bad := django_message(to=["nobody"]), django_message()]
        )
    assert caught.value.email_message is bad
    assert arrived() == [REQUEST_BODY]


def test_with_fail_silently_invalid_messages_are_skipped(configured: str, arrived: Arrived) -> None:
    connection = connection_of(fail_silently=True)
    assert (
        connection.send_messages(
            [django_message(), django_message(to=["nobody"]), django_message(envelope_sender="b@x.example")]
        )
        == 1
    )
    assert arrived() == [REQUEST_BODY]


@pytest.mark.filterwarnings("ignore:The 'fail_silently' argument is deprecated")
def test_send_with_fail_silently_returns_zero_for_an_invalid_message(
    configured: str, arrived: Arrived
) -> None:
    assert django_message(to=["nobody"]).send(fail_silently=True) == 0
    assert mail.send_mail("Hello", "", None, ["nobody"], fail_silently=True) == 0
    assert arrived() == []


# Options


@pytest.mark.filterwarnings("ignore:The 'auth_user' and 'auth_password' arguments are deprecated")
@pytest.mark.parametrize("name", ["username", "password"])
def test_user_names_and_passwords_are_refused(configured: str, sendgrid: FakeSendGrid, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"API key, and no {name}"):
        connection_of(**{name: "secret"})
    send_mail: Any = mail.send_mail
    argument = {"username": "auth_user", "password": "auth_password"}[name]
    with pytest.raises(ImproperlyConfigured, match=f"API key, and no {name}"):
        send_mail("Hello", "!", None, ["ann@example.com"], **{argument: "secret"})
    connection_of(**{name: None})
    connection_of(**{name: ""})


def test_a_missing_api_key_raises_when_sending(
    configured: str, sendgrid: FakeSendGrid, anymail: Change
) -> None:
    anymail(SENDGRID_API_KEY=None)
    with pytest.raises(ConfigurationError, match=r"ANYMAIL\['SENDGRID_API_KEY'\]"):
        django_message().send()


def test_an_option_of_none_is_ignored(configured: str, arrived: Arrived) -> None:
    connection = connection_of(
        api_key=None, api_url=None, timeout=None, send_defaults=None, idna_encoder=None
    )
    assert connection.send_messages([django_message()]) == 1
    assert arrived() == [REQUEST_BODY]


def test_options_in_code_are_used(configured: str, arrived: Arrived) -> None:
    connection = connection_of(
        generate_message_id=False,
        merge_field_format="-{}-",
        send_defaults={"tags": ["all"]},
        idna_encoder="idna2003",
        ignore_unsupported_features=True,
    )
    message = django_message(
        to=["ann@faß.example"], merge_data={"ann@faß.example": {"name": "Ann"}}, envelope_sender="b@x.example"
    )
    assert connection.send_messages([message]) == 1
    assert arrived() == [
        {
            **SHARED_CONTENT,
            "categories": ["all"],
            "personalizations": [
                {"to": [{"email": "ann@fass.example"}], "substitutions": {"-name-": "Ann"}},
            ],
        }
    ]


def test_an_unusable_option_raises_an_error_that_names_it(configured: str, sendgrid: FakeSendGrid) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"The mailer 'default'.* REQUESTS_TIMEOUT: must be"):
        connection_of(timeout="long")


def test_send_defaults_in_code_replace_those_in_the_settings(
    configured: str, arrived: Arrived, anymail: Change
) -> None:
    anymail(SEND_DEFAULTS={"tags": ["a"]}, SENDGRID_SEND_DEFAULTS={"metadata": {"b": "1"}})
    connection_of(send_defaults={"template_id": "d-1"}).send_messages([django_message()])
    assert arrived() == [{**REQUEST_BODY, "template_id": "d-1"}]


@of_the_setting
@pytest.mark.filterwarnings(r"ignore:sending_app\.backends\.\w+\.EmailBackend\.__init__\(\) does not support")
def test_an_unknown_option_is_ignored_without_mailers(
    backend: str, arrived: Arrived, settings: Settings
) -> None:
    use_email_backend(settings, backend)
    connection_of(api_kye="SG.typo").send_messages([django_message()])
    assert arrived() == [REQUEST_BODY]


# pre_send


def test_pre_send_may_change_the_message(configured: str, arrived: Arrived) -> None:
    heard = []

    def receiver(message: Any, **more: Any) -> None:
        heard.append((message, more["sender"], more["esp_name"], message.anymail_status.message_id))
        message.subject = "Changed"
        message.to.append("bob@example.com")

    message = django_message()
    with receiver_connected(pre_send, receiver):
        message.send()
    assert heard == [(message, import_string(configured), "SendGrid", None)]
    changed = {
        "subject": "Changed",
        "personalizations": [personalization_to("ann@example.com", "bob@example.com")],
    }
    assert arrived() == [{**SHARED_CONTENT, **changed}]
    assert message.anymail_status.recipients.keys() == {"ann@example.com", "bob@example.com"}


def test_pre_send_may_cancel_one_message(configured: str, arrived: Arrived) -> None:
    def receiver(message: Any, **_: Any) -> None:
        if message.to == ["bob@example.com"]:
            raise CancelSend

    cancelled = django_message(to=["bob@example.com"])
    with receiver_connected(pre_send, receiver):
        assert connection_of().send_messages([django_message(), cancelled, django_message()]) == 2
        assert cancelled.send() == 0
    assert cancelled.anymail_status.recipients == {}
    assert arrived() == [REQUEST_BODY, REQUEST_BODY]


def test_pre_send_may_take_all_recipients_away(configured: str, arrived: Arrived) -> None:
    def receiver(message: Any, **_: Any) -> None:
        message.to = [one for one in message.to if one != "bob@example.com"]

    with receiver_connected(pre_send, receiver):
        assert django_message(to=["bob@example.com"]).send() == 0
        assert django_message(to=["ann@example.com", "bob@example.com"]).send() == 1
    assert arrived() == [REQUEST_BODY]


@pytest.mark.parametrize("silently", [False, True])
def test_other_errors_of_a_pre_send_receiver_stop_the_send(
    configured: str, arrived: Arrived, silently: bool
) -> None:
    def receiver(message: Any, **_: Any) -> None:
        if message.to == ["bob@example.com"]:
            raise LookupError("no Bob")

    connection = connection_of(fail_silently=True) if silently else connection_of()
    with receiver_connected(pre_send, receiver), pytest.raises(LookupError, match="no Bob"):
        connection.send_messages([django_message(), django_message(to=["bob@example.com"]), django_message()])
    assert arrived() == [REQUEST_BODY]


# anymail_status


def test_the_status_is_set_when_send_returns(configured: str, sendgrid: FakeSendGrid) -> None:
    message = django_message(to=["Ann <ann@example.com>"], cc=["cora@example.com"], bcc=["dan@example.com"])
    message.send()
    status = message.anymail_status
    assert status.status == {"queued"}
    assert status.recipients.keys() == {"ann@example.com", "cora@example.com", "dan@example.com"}
    assert {one.status for one in status.recipients.values()} == {"queued"}
    assert {one.message_id for one in status.recipients.values()} == {status.message_id}


def test_each_send_sets_a_new_status(configured: str, sendgrid: FakeSendGrid) -> None:
    message = django_message()
    message.send()
    first = message.anymail_status
    message.to = ["bob@example.com"]
    message.send()
    assert first.recipients.keys() == {"ann@example.com"}
    assert message.anymail_status.recipients.keys() == {"bob@example.com"}
    assert message.anymail_status.message_id != first.message_id


def test_the_status_of_a_message_that_is_not_sent_is_empty(configured: str, sendgrid: FakeSendGrid) -> None:
    message = django_message()
    message.send()
    message.envelope_sender = "bounces@example.com"
    with pytest.raises(UnsupportedFeature) as caught:
        message.send()
    assert caught.value.email_message is message
    status = message.anymail_status
    assert (status.message_id, status.status, status.recipients) == (None, None, {})
    assert status.esp_response is None


def test_a_reply_to_address_contains_the_message_id(configured: str, arrived: Arrived) -> None:
    message = django_message(reply_to=["Shop <support+{message_id}@parse.example.com>"])
    message.send()
    short = message.anymail_status.message_id.replace("-", "")
    address = {"email": f"support+{short}@parse.example.com", "name": "Shop"}
    assert arrived() == [{**REQUEST_BODY, "reply_to_list": [address]}]


# What messages are made of


def test_lazy_text_is_evaluated(configured: str, arrived: Arrived) -> None:
    lazy = gettext_lazy("Yes")
    message = django_message(
        subject=lazy,
        body=lazy,
        metadata={"a": lazy},
        merge_data={"ann@example.com": {"-a-": lazy}},
        merge_headers={"ann@example.com": {"X-A": lazy}},
        esp_extra={"asm": {"group_id": 1}, "custom_args": {"b": lazy}},
    )
    message.attach_alternative(lazy, "text/html")
    message.send()
    assert arrived() == [
        {
            "from": {"email": "shop@example.com"},
            "subject": "Yes",
            "content": [{"type": "text/plain", "value": "Yes"}, {"type": "text/html", "value": "Yes"}],
            "custom_args": {"a": "Yes", "b": "Yes"},
            "asm": {"group_id": 1},
            "personalizations": [
                personalization_to("ann@example.com", substitutions={"-a-": "Yes"}, headers={"X-A": "Yes"}),
            ],
        }
    ]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("metadata", {"order": OutboxMessage(pk=5)}),
        ("merge_data", {"ann@example.com": {"order": OutboxMessage(pk=5)}}),
        ("merge_global_data", {"order": OutboxMessage(pk=5)}),
        ("esp_extra", {"order": OutboxMessage(pk=5)}),
        ("tags", [OutboxMessage(pk=5)]),
        ("subject", OutboxMessage(pk=5)),
    ],
)
def test_a_model_instance_is_refused_with_its_path(
    configured: str, arrived: Arrived, attribute: str, value: Any
) -> None:
    message = django_message(template_id="d-1", **{attribute: value})
    with pytest.raises(SerializationError, match=f"^{attribute}.* OutboxMessage") as caught:
        message.send()
    assert caught.value.email_message is message
    assert arrived() == []


# Pickles and copies


@pytest.fixture
def sent_message(configured: str, sendgrid: FakeSendGrid) -> Any:
    message = django_message(tags=["a"])
    message.send()
    return message


def test_a_sent_message_can_be_pickled_and_sent_again(sent_message: Any, arrived: Arrived) -> None:
    pickled = pickle.dumps(sent_message)
    assert b"SG.fake" not in pickled
    assert pickle.loads(pickled).send() == 1
    assert arrived() == [{**REQUEST_BODY, "categories": ["a"]}] * 2


def test_a_copy_of_a_sent_message_can_be_sent(sent_message: Any, arrived: Arrived) -> None:
    twin = copy.deepcopy(sent_message)
    twin.to = ["bob@example.com"]
    twin.send()
    assert [one["personalizations"] for one in arrived()] == [
        [personalization_to("ann@example.com")],
        [personalization_to("bob@example.com")],
    ]


def test_a_mailer_with_its_own_options_cannot_be_pickled(configured: str, sendgrid: FakeSendGrid) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(connection_of(send_defaults={"tags": ["a"]}))
