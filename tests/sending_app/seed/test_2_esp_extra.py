"""The seed's heading "esp_extra support"."""

import copy
from collections.abc import Callable

import pytest

from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import ConfigurationError
from sending_app.message import SendGridMessage
from tests.support.sending.django_mail import SHARED_CONTENT, Sent, django_message, personalization_to

Change = Callable[..., None]

#: The seed's own example.
EXAMPLE = {
    "asm": {  # SendGrid subscription management
        "group_id": 1,
        "groups_to_display": [1, 2, 3],
    },
    "tracking_settings": {
        "open_tracking": {
            "substitution_tag": "%%OPEN_TRACKING_PIXEL%%",
        },
    },
    "personalizations": {
        "future_feature": {"future": "data"},
    },
}

OF_THE_EXAMPLE = {
    **SHARED_CONTENT,
    "asm": {"group_id": 1, "groups_to_display": [1, 2, 3]},
    "tracking_settings": {
        "open_tracking": {"enable": True, "substitution_tag": "%%OPEN_TRACKING_PIXEL%%"},
    },
}


def test_the_documented_esp_extra_example_is_sent(sent: Sent) -> None:
    message = django_message()
    message.open_tracking = True
    message.esp_extra = copy.deepcopy(EXAMPLE)
    assert sent(message) == {
        **OF_THE_EXAMPLE,
        "personalizations": [personalization_to("ann@example.com", future_feature={"future": "data"})],
    }
    assert message.esp_extra == EXAMPLE


def test_the_documented_example_works_with_track_opens(sent: Sent) -> None:
    body = sent(django_message(track_opens=True, esp_extra=EXAMPLE))
    assert body["tracking_settings"] == OF_THE_EXAMPLE["tracking_settings"]


def test_personalizations_as_a_dict_reach_each_recipient(sent: Sent) -> None:
    message = django_message(to=["ann@example.com", "bob@example.com"], merge_data={}, esp_extra=EXAMPLE)
    message.open_tracking = True
    assert sent(message) == {
        **OF_THE_EXAMPLE,
        "personalizations": [
            personalization_to("ann@example.com", number=0, future_feature={"future": "data"}),
            personalization_to("bob@example.com", number=1, future_feature={"future": "data"}),
        ],
    }


def test_personalizations_as_a_list_replace_those_of_the_message(sent: Sent) -> None:
    message = django_message(
        cc=["nobody@example.com"],
        esp_extra={
            "personalizations": [
                {"to": [{"email": "bob@example.com", "name": "Bob"}], "subject": "For Bob"},
                {"to": [{"email": "cora@example.com"}], "custom_args": {"number": "5"}},
            ]
        },
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [
            {
                "to": [{"email": "bob@example.com", "name": "Bob"}],
                "subject": "For Bob",
                "custom_args": {"anymail_id": "id-0"},
            },
            personalization_to("cora@example.com", number=1, custom_args={"number": "5"}),
        ],
    }
    assert message.anymail_status.recipients.keys() == {"bob@example.com", "cora@example.com"}


def test_esp_extra_overrides_the_generated_payload(sent: Sent) -> None:
    message = django_message(
        tags=["mine"],
        metadata={"kept": "1", "changed": "2"},
        esp_extra={
            "categories": ["theirs"],
            "custom_args": {"changed": "3"},
            "subject": "Another one",
            "ip_pool_name": "quick",
            "mail_settings": {"sandbox_mode": {"enable": False}},
        },
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "subject": "Another one",
        "categories": ["theirs"],
        "custom_args": {"kept": "1", "changed": "3"},
        "ip_pool_name": "quick",
        "mail_settings": {"sandbox_mode": {"enable": False}},
        "personalizations": [personalization_to("ann@example.com")],
    }


def test_esp_extra_is_an_argument_of_the_message_class(sent: Sent) -> None:
    message = SendGridMessage(
        "Hello", "It is on its way.", to=["ann@example.com"], open_tracking=True, esp_extra=EXAMPLE
    )
    assert sent(message) == {
        **OF_THE_EXAMPLE,
        "personalizations": [personalization_to("ann@example.com", future_feature={"future": "data"})],
    }


def test_esp_extra_in_send_defaults_applies_to_all_messages(sent: Sent, anymail: Change) -> None:
    anymail(SEND_DEFAULTS={"track_opens": True, "esp_extra": EXAMPLE})
    plain, own = django_message(), django_message(esp_extra={"asm": {"group_id": 7}})
    expected = {
        **OF_THE_EXAMPLE,
        "personalizations": [personalization_to("ann@example.com", future_feature={"future": "data"})],
    }
    assert sent(plain) == expected
    assert sent(own) == {**expected, "asm": {"group_id": 7, "groups_to_display": [1, 2, 3]}}


def test_x_smtpapi_of_the_old_api_is_refused(sent: Sent, sendgrid: FakeSendGrid) -> None:
    with pytest.raises(ConfigurationError, match="x-smtpapi"):
        sent(django_message(esp_extra={"x-smtpapi": {"category": "a"}}))
    assert not sendgrid.requests
