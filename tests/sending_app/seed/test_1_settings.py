"""The seed's first headings: the backend, and its settings."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app import account
from tests.support.sending.django_mail import (
    DIRECT,
    QUEUED,
    SHARED_CONTENT,
    Sent,
    django_message,
    personalization_to,
    use_backend,
)

Change = Callable[..., None]


# EMAIL_BACKEND


def test_a_django_message_is_sent_by_the_web_api_v3(sent: Sent, sendgrid: FakeSendGrid) -> None:
    assert sent(django_message()) == {
        **SHARED_CONTENT,
        "personalizations": [personalization_to("ann@example.com")],
    }
    assert [request.status for request in sendgrid.requests] == [202]


# SENDGRID_API_KEY


def test_the_api_key_is_read_from_the_anymail_dict(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Change
) -> None:
    anymail(SENDGRID_API_KEY="SG.in-the-dict")
    sent(django_message())
    assert sendgrid.accepted[0].key == "SG.in-the-dict"


def test_the_api_key_is_read_with_the_anymail_prefix(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Change, settings: Settings
) -> None:
    anymail(SENDGRID_API_KEY=None)
    settings.ANYMAIL_SENDGRID_API_KEY = "SG.prefixed"
    sent(django_message())
    assert sendgrid.accepted[0].key == "SG.prefixed"


def test_the_api_key_is_read_from_the_root_of_the_settings(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Change, settings: Settings
) -> None:
    anymail(SENDGRID_API_KEY=None)
    settings.SENDGRID_API_KEY = "SG.at-the-root"
    sent(django_message())
    assert sendgrid.accepted[0].key == "SG.at-the-root"


def test_the_root_of_the_settings_is_looked_up_last(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Change, settings: Settings
) -> None:
    settings.SENDGRID_API_KEY = "SG.at-the-root"
    settings.ANYMAIL_SENDGRID_API_KEY = "SG.prefixed"
    sent(django_message())
    anymail(SENDGRID_API_KEY=None)
    sent(django_message())
    assert [mail.key for mail in sendgrid.accepted] == ["SG.fake", "SG.prefixed"]


@pytest.mark.parametrize("backend", [DIRECT, QUEUED])
def test_the_api_key_is_required(
    backend: str, sendgrid: FakeSendGrid, anymail: Change, settings: Settings
) -> None:
    use_backend(settings, backend)
    anymail(SENDGRID_API_KEY=None)
    with pytest.raises(ImproperlyConfigured) as caught:
        django_message().send()
    for place in ("ANYMAIL['SENDGRID_API_KEY']", "ANYMAIL_SENDGRID_API_KEY", "or SENDGRID_API_KEY"):
        assert place in str(caught.value)
    assert not sendgrid.requests


# SENDGRID_GENERATE_MESSAGE_ID


def test_by_default_each_message_has_a_uuid_as_the_custom_arg_anymail_id(
    sent: Sent, sendgrid: FakeSendGrid
) -> None:
    message = django_message()
    sent(message)
    custom_args = sendgrid.accepted[0].body["personalizations"][0]["custom_args"]
    assert custom_args == {"anymail_id": message.anymail_status.message_id}


def test_without_ids_a_sent_message_has_a_message_id_of_none(sent: Sent, anymail: Change) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    message = django_message()
    assert sent(message) == {**SHARED_CONTENT, "personalizations": [{"to": [{"email": "ann@example.com"}]}]}
    assert message.anymail_status.message_id is None
    assert message.anymail_status.recipients["ann@example.com"].message_id is None
    assert message.anymail_status.status == {"queued"}


# SENDGRID_MERGE_FIELD_FORMAT: see also test_4_templates


@pytest.mark.parametrize(
    ("field_format", "name"),
    [("-{}-", "-name-"), ("{{{{{}}}}}", "{{name}}"), ("%%{}%%", "%%name%%"), ("{{{}}}", "{name}")],
)
def test_merge_field_format_delimits_the_field_names_of_a_legacy_template(
    sent: Sent, anymail: Change, field_format: str, name: str
) -> None:
    anymail(SENDGRID_MERGE_FIELD_FORMAT=field_format)
    message = django_message()
    message.template_id = "5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f"
    message.merge_data = {"ann@example.com": {"name": "Ann"}}
    assert sent(message) == {
        **SHARED_CONTENT,
        "template_id": "5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f",
        "personalizations": [personalization_to("ann@example.com", substitutions={name: "Ann"})],
    }


def test_merge_field_format_is_not_used_with_dynamic_templates(sent: Sent, anymail: Change) -> None:
    anymail(SENDGRID_MERGE_FIELD_FORMAT="-{}-")
    message = django_message()
    message.template_id = "d-5a963add2ec84305813ff860db277d7a"
    message.merge_data = {"ann@example.com": {"name": "Ann"}}
    assert sent(message) == {
        **SHARED_CONTENT,
        "template_id": "d-5a963add2ec84305813ff860db277d7a",
        "personalizations": [personalization_to("ann@example.com", dynamic_template_data={"name": "Ann"})],
    }


# SENDGRID_API_URL


def test_the_base_url_works_with_and_without_a_trailing_slash(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Change
) -> None:
    for url in (sendgrid.url, sendgrid.url.removesuffix("/")):
        anymail(SENDGRID_API_URL=url)
        sent(django_message())
    assert len(sendgrid.accepted) == 2


def test_the_default_base_url_is_sendgrids(sendgrid: FakeSendGrid, anymail: Change) -> None:
    anymail(SENDGRID_API_URL=None)
    assert account.named("default").api_url == "https://api.sendgrid.com/v3/"
