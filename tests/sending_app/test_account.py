"""An account is looked up in the settings each time, and its key is shown nowhere."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from sending_app import account
from sending_app.account import Account
from sending_app.exceptions import AnymailConfigurationError, ConfigurationError

BACKEND = "sending_app.backends.queued.EmailBackend"


@pytest.fixture
def without_mailers(settings: Settings) -> None:
    """As in a project that has none: on Django 5.2, or with EMAIL_BACKEND."""
    if account.has_mailers():
        del settings.MAILERS


@pytest.fixture
def mailers(settings: Settings) -> Callable[..., None]:
    def have(**options: dict[str, Any]) -> None:
        settings.MAILERS = {alias: {"BACKEND": BACKEND, "OPTIONS": own} for alias, own in options.items()}

    return have


@pytest.mark.usefixtures("without_mailers")
def test_without_mailers_there_is_one_account(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one", REQUESTS_TIMEOUT=(1, 2))
    found = account.named("default")
    assert found == Account("default", "SG.one", "https://api.sendgrid.com/v3/", (1.0, 2.0))
    assert account.usable() == [found]
    with pytest.raises(ConfigurationError, match=r"no mailer 'news': there is no MAILERS.*SENDGRID_ACCOUNTS"):
        account.named("news")


def test_options_of_a_mailer_override_the_settings(
    anymail: Callable[..., None], mailers: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY="SG.one", SENDGRID_API_URL="https://api.eu.sendgrid.com/v3")
    mailers(default={}, news={"api_key": "SG.news", "api_url": "https://x.example/v3/", "timeout": 7})
    default, news = account.usable()
    assert (default.api_key, default.api_url) == ("SG.one", "https://api.eu.sendgrid.com/v3/")
    assert (news.alias, news.api_key, news.timeout) == ("news", "SG.news", (7.0, 7.0))
    assert news.api_url == "https://x.example/v3/"
    with pytest.raises(ConfigurationError, match="There is no mailer 'other' in MAILERS"):
        account.named("other")


def test_a_mailer_without_options_uses_the_settings(settings: Settings, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one")
    settings.MAILERS = {"default": {"BACKEND": BACKEND}}
    assert account.named("default").api_key == "SG.one"


def test_a_missing_api_key_raises_an_error_with_the_places_to_set_it(
    anymail: Callable[..., None], mailers: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=None)
    mailers(news={})
    with pytest.raises(AnymailConfigurationError) as raised:
        account.named("news")
    assert isinstance(raised.value, ImproperlyConfigured)
    for place in ("MAILERS['news']['OPTIONS']['api_key']", "ANYMAIL['SENDGRID_API_KEY']", "SENDGRID_API_KEY"):
        assert place in str(raised.value)


@pytest.mark.usefixtures("without_mailers")
def test_without_mailers_the_missing_key_error_does_not_name_mailers(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY=None)
    with pytest.raises(ConfigurationError) as raised:
        account.named("default")
    assert "MAILERS" not in str(raised.value)
    assert account.usable() == []


def test_only_complete_accounts_are_usable(
    anymail: Callable[..., None], mailers: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=None)
    mailers(default={}, news={"api_key": "SG.news"}, bad={"api_key": "SG.bad", "timeout": "long"})
    assert [one.alias for one in account.usable()] == ["news"]


def test_a_fingerprint_identifies_key_and_url_without_revealing_the_key() -> None:
    one = Account("default", "SG.one", "https://api.sendgrid.com/v3/", (1.0, 2.0))
    same = Account("news", "SG.one", "https://api.sendgrid.com/v3/", (9.0, 9.0))
    others = {
        Account("default", "SG.two", one.api_url, one.timeout).fingerprint,
        Account("default", "SG.one", "https://api.eu.sendgrid.com/v3/", one.timeout).fingerprint,
    }
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, *others}) == 3
    assert len(one.fingerprint) == 32
    assert "SG" not in one.fingerprint


def test_a_fingerprint_depends_on_the_secret_key_of_the_project(settings: Settings) -> None:
    def fingerprint() -> str:
        return Account("default", "SG.one", "https://api.sendgrid.com/v3/", (1.0, 2.0)).fingerprint

    before = fingerprint()
    settings.SECRET_KEY = "another one's"
    assert fingerprint() != before


def test_the_api_key_is_not_in_the_repr_of_an_account() -> None:
    one = Account("default", "SG.one", "https://api.sendgrid.com/v3/", (1.0, 2.0))
    assert "SG.one" not in repr(one)
    assert "SG.one" not in str(one)
