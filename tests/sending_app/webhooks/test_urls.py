"""URLs of webhooks: which of them this project answers, and what an output shows of them."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError
from django.test import override_settings
from django.urls import include, path, set_script_prefix
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from events_app.views import SendGridTrackingWebhookView
from sending_app.webhooks import keys, passwords, urls

TRACKING = "https://shop.example.com/anymail/sendgrid/tracking/"

#: A project of its own, whose view has a key and a password of its own.
urlpatterns = [
    path("hooks/", include("events_app.urls")),
    path(
        "second/",
        SendGridTrackingWebhookView.as_view(
            tracking_webhook_verification_key="its own key", basic_auth="its:own-password"
        ),
    ),
]


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (TRACKING, True),
        (TRACKING.rstrip("/"), True),
        (f"{TRACKING}?key=2", True),
        (TRACKING.replace("//", "//u:p@"), True),
        (TRACKING.replace("shop.", "other."), False),
        (TRACKING.replace("tracking", "inbound"), False),
        ("https://shop.example.com/admin/", False),
        ("https://shop.example.com", False),
        ("https://[shop/", False),
        ("", False),
    ],
)
def test_a_url_is_ours_by_its_host_and_its_view(settings: Settings, url: str, ours: bool) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    assert urls.is_ours(url, "tracking") is ours


def test_without_allowed_hosts_this_machine_is_ours_while_debugging(settings: Settings) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = [], True
    assert urls.is_ours("http://127.0.0.1:8000/anymail/sendgrid/tracking/", "tracking")
    settings.DEBUG = False
    assert not urls.is_ours("http://127.0.0.1:8000/anymail/sendgrid/tracking/", "tracking")


@override_settings(ROOT_URLCONF=__name__)
def test_urls_of_a_project_of_its_own_are_followed() -> None:
    url = "https://shop.example.com/hooks/sendgrid/tracking/"
    assert urls.checked(url, "tracking") == url
    with pytest.raises(CommandError, match="There is /hooks/sendgrid/tracking/"):
        urls.checked(TRACKING, "tracking")
    second = "https://shop.example.com/second/"
    assert keys.here("tracking", second) == ["its own key"]
    with pytest.raises(CommandError, match="WEBHOOK_SECRET"):
        passwords.check_credentials("tracking", second, uses_oauth=False)
    assert passwords.put_in(second, "tracking") == "https://its:own-password@shop.example.com/second/"


def test_a_site_below_a_prefix_is_found_there(settings: Settings) -> None:
    set_script_prefix("/mail/")
    try:
        below = TRACKING.replace("/anymail", "/mail/anymail")
        assert urls.checked(below, "tracking") == below
        with pytest.raises(CommandError, match="There is /mail/anymail/sendgrid/tracking/"):
            urls.checked(TRACKING, "tracking")
    finally:
        set_script_prefix("/")


def test_webhooks_have_the_same_target_whatever_their_password_query_and_case() -> None:
    target = urls.target(TRACKING)
    for same in (
        f"{TRACKING}?key=2",
        TRACKING.replace("//", "//u:p@"),
        TRACKING.replace("shop", "SHOP"),
        TRACKING.replace(".com", ".com:443"),
    ):
        assert urls.target(same) == target
    for other in (TRACKING.replace("https", "http"), TRACKING.replace("shop", "www"), f"{TRACKING}x"):
        assert urls.target(other) != target


@given(st.integers(1, 999_999))
def test_the_number_of_a_webhook_is_in_its_url(number: int) -> None:
    numbered = urls.with_number(TRACKING, number)
    assert urls.number(numbered) == number
    assert urls.number(urls.with_number(numbered, number + 1)) in (number + 1, None)
    assert urls.target(numbered) == urls.target(TRACKING)


@pytest.mark.parametrize("query", ["a=1", "key=", "key=0", "key=two", "key=2&a=1", "key=1234567"])
def test_a_query_of_another_meaning_is_no_number(query: str) -> None:
    assert urls.number(f"{TRACKING}?{query}") is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_password_is_put_into_a_url_and_never_shown(user: str, password: str) -> None:
    user = user.replace(":", "") or "user"
    with override_settings(ANYMAIL={"WEBHOOK_SECRET": f"{user}:{password}"}):
        try:
            url = passwords.put_in(TRACKING, "tracking")
        except CommandError:
            assert not _is_utf8(user + password)
            return
    assert passwords.in_url(url) == f"{user}:{password}"
    assert passwords.left_out(url) == TRACKING
    assert urls.masked(url) == TRACKING.replace("//", "//***@")
    assert urlsplit(url).hostname == "shop.example.com"


@pytest.mark.parametrize("pair", ["user", "user:", ":password", "us\udce4r:password"])
def test_an_unusable_pair_is_an_error_of_the_setting(anymail: Callable[..., None], pair: str) -> None:
    anymail(WEBHOOK_SECRET=pair)
    with pytest.raises(CommandError, match="not user:password in UTF-8"):
        passwords.put_in(TRACKING, "tracking")


@pytest.mark.parametrize("password", ["p", "p@q", "p/q", "p?q#r", "//", "@"])
def test_a_password_that_a_person_typed_unescaped_is_not_shown(password: str) -> None:
    shown = urls.masked(f"see https://user:{password}@shop.example.com/x and https://a.example/y.")
    assert shown == "see https://***@shop.example.com/x and https://a.example/y."


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
