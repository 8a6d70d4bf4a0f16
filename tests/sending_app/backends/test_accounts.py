"""Several accounts by name, `SENDGRID_ACCOUNTS`: the same on every version of Django."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app import account
from sending_app.account import Account
from sending_app.exceptions import ConfigurationError
from sending_app.models import OutboxMessage
from tests.support.sending.django_mail import (
    HAS_MAILERS,
    QUEUED,
    Arrived,
    connection_of,
    django_message,
    use_email_backend,
)

# Django 6.1 warns of a project without MAILERS.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated"),
    pytest.mark.filterwarnings("ignore:The EmailMessage.connection attribute is deprecated"),
]

Change = Callable[..., None]

EU = "https://api.eu.sendgrid.com/v3/"

only_with_mailers = pytest.mark.skipif(not HAS_MAILERS, reason="There is no MAILERS before Django 6.1")


@pytest.fixture(autouse=True)
def accounts(anymail: Change) -> None:
    anymail(
        SENDGRID_API_KEY="SG.fake",
        SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news", "send_defaults": {"tags": ["news"]}}},
    )


@pytest.fixture
def without_mailers(settings: Settings) -> None:
    use_email_backend(settings, QUEUED)


def named_connection(backend: str, name: Any = "news", **options: Any) -> Any:
    return connection_of(backend=backend, account=name, **options)


@pytest.mark.usefixtures("without_mailers")
def test_a_connection_by_the_name_of_an_account_sends_with_its_key_and_options(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings
) -> None:
    use_email_backend(settings, backend)
    message = django_message()
    message.connection = named_connection(backend)
    assert message.send() == 1
    assert named_connection(backend).send_messages([django_message()]) == 1
    assert connection_of().send_messages([django_message()]) == 1
    first, second, third = arrived()
    assert first["categories"] == second["categories"] == ["news"]
    assert "categories" not in third
    assert [request.key for request in sendgrid.accepted] == ["SG.news", "SG.news", "SG.fake"]
    if backend == QUEUED:
        assert [*OutboxMessage.objects.order_by("pk").values_list("alias", flat=True)] == [
            *("news", "news", "default")
        ]


@only_with_mailers
def test_a_mailer_can_name_an_account(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings
) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": backend},
        "bulk": {"BACKEND": backend, "OPTIONS": {"account": "news", "send_defaults": {"tags": ["bulk"]}}},
        "news": {"BACKEND": backend, "OPTIONS": {"account": "news"}},
    }
    for alias in settings.MAILERS:
        django_message().send(using=alias)
    assert [body.get("categories") for body in arrived()] == [None, ["bulk"], ["news"]]
    assert [request.key for request in sendgrid.accepted] == ["SG.fake", "SG.news", "SG.news"]


@only_with_mailers
def test_a_connection_by_name_in_a_project_with_mailers_keeps_the_name_of_the_account(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived, settings: Settings
) -> None:
    settings.MAILERS = {"default": {"BACKEND": backend}}
    assert connection_of(account="news").send_messages([django_message()]) == 1
    arrived()
    assert [request.key for request in sendgrid.accepted] == ["SG.news"]


@pytest.mark.usefixtures("without_mailers")
@pytest.mark.parametrize("name", ["nwes", "default", 7])
def test_an_unknown_account_is_an_error_that_names_the_setting(backend: str, name: object) -> None:
    expected = r"There is no account .* in ANYMAIL\['SENDGRID_ACCOUNTS'\]\. Its accounts: 'news'"
    with pytest.raises(ConfigurationError, match=expected):
        named_connection(backend, name)


@pytest.mark.usefixtures("without_mailers")
@pytest.mark.parametrize("key", [None, ""])
def test_an_account_never_uses_the_key_of_another(backend: str, anymail: Change, key: str | None) -> None:
    anymail(SENDGRID_ACCOUNTS={"news": {"api_key": key}})
    with pytest.raises(ConfigurationError, match=r"SENDGRID_ACCOUNTS'\]\['news'\]\['api_key'\]"):
        named_connection(backend)
    assert [found.alias for found in account.usable()] == ["default"]


@pytest.mark.usefixtures("without_mailers")
def test_an_unknown_option_of_an_account_is_an_error(backend: str, anymail: Change) -> None:
    anymail(SENDGRID_ACCOUNTS={"news": {"api_kye": "SG.news"}})
    with pytest.raises(ConfigurationError, match=r"unknown option 'api_kye'\. Options: api_key, api_url"):
        named_connection(backend)


@pytest.mark.usefixtures("without_mailers")
def test_other_options_of_an_account_complete_the_settings(anymail: Change) -> None:
    anymail(
        REQUESTS_TIMEOUT=(1, 2),
        SENDGRID_ACCOUNTS={"eu": {"api_key": "SG.eu", "api_url": EU}, "slow": {"api_key": "S", "timeout": 9}},
    )
    assert account.usable() == [
        Account("default", "SG.fake", "https://api.sendgrid.com/v3/", (1.0, 2.0)),
        Account("eu", "SG.eu", EU, (1.0, 2.0)),
        Account("slow", "S", "https://api.sendgrid.com/v3/", (9.0, 9.0)),
    ]


@pytest.mark.usefixtures("without_mailers")
def test_a_bad_option_of_an_account_names_the_account(backend: str, anymail: Change) -> None:
    anymail(SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news", "merge_field_format": "-name-"}})
    expected = "The account 'news''s argument for SENDGRID_MERGE_FIELD_FORMAT"
    with pytest.raises(ImproperlyConfigured, match=expected):
        named_connection(backend)


@only_with_mailers
def test_a_name_of_a_mailer_and_of_an_account_must_mean_the_same_account(settings: Settings) -> None:
    settings.MAILERS = {"default": {"BACKEND": QUEUED}, "news": {"BACKEND": QUEUED}}
    with pytest.raises(ConfigurationError, match="'news' is a mailer in MAILERS and an account in"):
        account.named("news")
    with pytest.raises(ConfigurationError, match="Rename one, or give the mailer the option 'account'"):
        django_message().send(using="news")
    assert [found.alias for found in account.usable()] == ["default"]
    settings.MAILERS["news"]["OPTIONS"] = {"account": "news"}
    assert account.named("news").api_key == "SG.news"


@only_with_mailers
def test_mails_of_a_mailer_from_before_its_account_use_the_account(settings: Settings) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": QUEUED},
        "bulk": {"BACKEND": QUEUED, "OPTIONS": {"account": "news"}},
    }
    found = account.named("bulk")
    assert (found.alias, found.api_key) == ("bulk", "SG.news")


@pytest.mark.usefixtures("without_mailers")
def test_the_queued_backend_takes_no_other_key_for_a_named_account() -> None:
    with pytest.raises(ConfigurationError, match=r"takes no api_key in code.*ANYMAIL\['SENDGRID_ACCOUNTS'\]"):
        named_connection(QUEUED, api_key="SG.other")


@pytest.mark.usefixtures("without_mailers")
def test_a_pickled_message_keeps_the_account_and_no_key(
    backend: str, sendgrid: FakeSendGrid, arrived: Arrived
) -> None:
    message = django_message()
    message.connection = named_connection(backend)
    pickled = pickle.dumps(message)
    assert b"SG.news" not in pickled
    assert pickle.loads(pickled).send() == 1
    arrived()
    assert [request.key for request in sendgrid.accepted] == ["SG.news"]


@pytest.mark.usefixtures("without_mailers")
def test_the_backend_class_takes_the_name_too(backend: str, sendgrid: FakeSendGrid, arrived: Arrived) -> None:
    assert import_string(backend)(account="news").send_messages([django_message()]) == 1
    arrived()
    assert [request.key for request in sendgrid.accepted] == ["SG.news"]
