"""Several mailers, each with options of its own: the `MAILERS` setting of Django 6.1."""

from collections.abc import Callable

import pytest
from django.core import mail
from django.utils.module_loading import import_string
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import ConfigurationError
from sending_app.models import OutboxMessage
from tests.support.sending.django_mail import (
    HAS_MAILERS,
    QUEUED,
    REQUEST_BODY,
    SHARED_CONTENT,
    Arrived,
    django_message,
    use_backend,
)

if not HAS_MAILERS:
    pytest.skip("There is no MAILERS before Django 6.1", allow_module_level=True)

Change = Callable[..., None]


def test_a_mailer_in_mailers_has_its_own_options(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings, anymail: Change
) -> None:
    anymail(SENDGRID_API_KEY=None, SENDGRID_API_URL=None)
    use_backend(
        settings,
        backend,
        api_key="SG.of-options",
        api_url=sendgrid.url.removesuffix("/"),
        timeout=5,
        generate_message_id=False,
        merge_field_format="-{}-",
        send_defaults={"tags": ["all"]},
        idna_encoder="idna2003",
        ignore_unsupported_features=True,
        fail_silently=True,
    )
    message = django_message(merge_data={"ann@example.com": {"name": "Ann"}}, envelope_sender="b@x.example")
    assert message.send() == 1
    assert django_message(to=["nobody"]).send() == 0
    assert arrived() == [
        {
            **SHARED_CONTENT,
            "categories": ["all"],
            "personalizations": [
                {"to": [{"email": "ann@example.com"}], "substitutions": {"-name-": "Ann"}},
            ],
        }
    ]
    assert sendgrid.accepted[0].key == "SG.of-options"


def test_each_alias_sends_with_its_own_account(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings
) -> None:
    settings.ADMINS, settings.SERVER_EMAIL = ["ann@example.com"], "root@example.com"
    settings.MAILERS = {
        "default": {"BACKEND": backend},
        "news": {"BACKEND": backend, "OPTIONS": {"api_key": "SG.news"}},
    }
    django_message().send(using="news")
    django_message().send()
    mail.send_mail("Hello", "!", None, ["ann@example.com"], using="news")
    mail.send_mass_mail([("Hello", "!", None, ["ann@example.com"])], using="news")
    mail.mail_admins("Hello", "!", using="news")
    mail.mailers["news"].send_messages([django_message()])
    mail.mailers.default.send_messages([django_message()])
    arrived()
    assert [one.key for one in sendgrid.accepted] == ["SG.news", "SG.fake", *["SG.news"] * 4, "SG.fake"]
    if backend == QUEUED:
        assert set(OutboxMessage.objects.values_list("alias", flat=True)) == {"default", "news"}


def test_an_unknown_option_is_an_invalid_mailer(
    backend: str, sendgrid: FakeSendGrid, settings: Settings
) -> None:
    use_backend(settings, backend, api_kye="SG.typo")
    with pytest.raises(mail.InvalidMailer, match="Unknown options 'api_kye'"):
        django_message().send()


def test_the_missing_key_error_names_the_options_of_mailers(
    backend: str, sendgrid: FakeSendGrid, settings: Settings, anymail: Change
) -> None:
    anymail(SENDGRID_API_KEY=None)
    settings.MAILERS = {"default": {"BACKEND": backend}, "news": {"BACKEND": backend}}
    with pytest.raises(ConfigurationError, match=r"MAILERS\['news'\]\['OPTIONS'\]\['api_key'\]"):
        django_message().send(using="news")


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_the_name_of_a_queued_mailer_fits_the_outbox(
    database: str, sendgrid: FakeSendGrid, settings: Settings
) -> None:
    longest, longer = "m" * 64, "m" * 65
    settings.MAILERS = {name: {"BACKEND": QUEUED} for name in ("default", longest, longer)}
    assert django_message().send(using=longest) == 1
    assert OutboxMessage.objects.get().alias == longest
    with pytest.raises(ConfigurationError, match="needs a name of up to 64 characters"):
        django_message().send(using=longer)


def test_a_mailer_made_without_an_alias_is_the_default_one(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings
) -> None:
    use_backend(settings, backend)
    assert import_string(backend)().send_messages([django_message()]) == 1
    assert arrived() == [REQUEST_BODY]
