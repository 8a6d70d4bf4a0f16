"""What is left of django-anymail is named, with what to write instead."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.dispatch import Signal
from django.http import HttpResponse
from django.test import override_settings
from django.urls import get_script_prefix, include, path, set_script_prefix
from pytest_django import Settings

from events_app.leftovers import check_leftovers
from tests.support.sending.django_mail import use_backend

Change = Callable[..., None]

MAILGUN = "anymail.backends.mailgun.EmailBackend"


@pytest.fixture
def with_anymail(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if "anymail" were in INSTALLED_APPS."""
    from django.apps import apps  # noqa: PLC0415

    is_installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "anymail" or is_installed(name))


@pytest.fixture
def without_sending_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the first of two steps, in which django-anymail still sends."""
    from django.apps import apps  # noqa: PLC0415

    is_installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "sending_app" and is_installed(name))


def found() -> list[tuple[str | None, str | None]]:
    return [(message.id, message.hint) for message in check_leftovers()]


def anymail_view(request: Any) -> HttpResponse:
    return HttpResponse()


anymail_view.__module__ = "anymail.webhooks.sendgrid"

anymail_urls = (
    [
        path("sendgrid/tracking/", anymail_view, name="sendgrid_tracking_webhook"),
        path("sendgrid/inbound/", anymail_view, name="sendgrid_inbound_webhook"),
    ],
    "anymail",
)
old_urls = ModuleType("old_urls")
old_urls.urlpatterns = [path("anymail/", include(anymail_urls))]  # type: ignore[attr-defined]
both_urls = ModuleType("both_urls")
both_urls.urlpatterns = [  # type: ignore[attr-defined]
    path("anymail/", include("events_app.urls")),
    path("anymail/", include(anymail_urls)),
]


def test_a_project_without_leftovers_passes() -> None:
    assert found() == []


def test_the_check_is_registered() -> None:
    assert check_leftovers in checks.registry.registry.get_checks()


@pytest.mark.parametrize(
    ("backend", "instead"),
    [
        ("anymail.backends.sendgrid.EmailBackend", "sending_app.backends.queued.EmailBackend"),
        ("anymail.backends.test.EmailBackend", "sending_app.backends.locmem.EmailBackend"),
        ("anymail.backends.console.EmailBackend", "django.core.mail.backends.console.EmailBackend"),
    ],
)
@pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated")
def test_a_backend_of_anymail_is_named_with_the_new_path(
    settings: Settings, backend: str, instead: str
) -> None:
    use_backend(settings, backend)
    assert found() == [("events_app.W011", f'Write "{instead}".')]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DEBUG_API_REQUESTS", "Look at the requests on a local SendGrid"),
        ("SENDGRID_USERNAME", "set SENDGRID_API_KEY"),
        ("WEBHOOK_AUTHORIZATION", "Rename it to WEBHOOK_SECRET"),
        ("MAILGUN_API_KEY", "Remove it"),
        ("AMAZON_SES_CLIENT_PARAMS", "Remove it"),
    ],
)
@pytest.mark.parametrize("is_in_dict", [True, False])
def test_a_setting_without_effect_is_named_wherever_it_is(
    anymail: Change, settings: Settings, name: str, hint: str, is_in_dict: bool
) -> None:
    if is_in_dict:
        anymail(**{name: "value"})
    else:
        setattr(settings, f"ANYMAIL_{name}", "value")
    ((found_id, found_hint),) = found()
    assert found_id == "events_app.W013"
    assert hint in (found_hint or "")


@pytest.mark.usefixtures("with_anymail")
def test_an_installed_anymail_that_nothing_uses_is_named() -> None:
    assert found() == [("events_app.W012", 'Remove "anymail".')]


@pytest.mark.usefixtures("with_anymail")
def test_settings_of_another_service_show_that_anymail_is_in_use(anymail: Change) -> None:
    anymail(MAILGUN_API_KEY="key", DEBUG_API_REQUESTS=True)
    assert found() == []


@pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated")
def test_a_backend_of_another_service_shows_that_anymail_is_in_use(
    settings: Settings, anymail: Change
) -> None:
    anymail(MAILGUN_API_KEY="key", DEBUG_API_REQUESTS=True)
    use_backend(settings, MAILGUN)
    assert found() == []


@pytest.mark.usefixtures("without_sending_app")
@pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated")
def test_while_anymail_still_sends_nothing_of_sending_is_named(settings: Settings, anymail: Change) -> None:
    anymail(DEBUG_API_REQUESTS=True)
    use_backend(settings, "anymail.backends.sendgrid.EmailBackend")
    assert found() == []


def test_urls_of_anymail_that_answer_sendgrid_are_named() -> None:
    with override_settings(ROOT_URLCONF=old_urls):
        messages = check_leftovers()
    assert [message.id for message in messages] == ["events_app.W014", "events_app.W014"]
    assert "Posts of SendGrid to /anymail/sendgrid/tracking/ go to django-anymail" in messages[0].msg


def test_urls_below_a_script_name_are_named() -> None:
    before = get_script_prefix()
    set_script_prefix("/shop/")
    try:
        with override_settings(ROOT_URLCONF=old_urls):
            messages = check_leftovers()
    finally:
        set_script_prefix(before)
    assert "Posts of SendGrid to /shop/anymail/sendgrid/tracking/" in messages[0].msg


def test_a_project_without_urls_has_none_to_name(settings: Settings) -> None:
    del settings.ROOT_URLCONF
    assert found() == []


def test_urls_of_anymail_behind_ours_are_no_fault() -> None:
    with override_settings(ROOT_URLCONF=both_urls):
        assert found() == []


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tracking", "events_app.signals"),
        ("inbound", "events_app.signals"),
        ("pre_send", "sending_app.signals"),
        ("post_send", "sending_app.signals"),
    ],
)
def test_a_receiver_of_a_signal_of_anymail_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    signals: Any = ModuleType("anymail.signals")
    for other in ("tracking", "inbound", "pre_send", "post_send"):
        setattr(signals, other, Signal())
    monkeypatch.setitem(sys.modules, "anymail.signals", signals)
    assert found() == []
    getattr(signals, name).connect(anymail_view, weak=False)
    assert found() == [("events_app.W015", f"Write: from {module} import {name}")]
