"""What the settings of sending may hold; `tests.events_app.test_conf` has where they are looked up."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from events_app.shared.setting import Setting, registered
from sending_app import conf


def test_unset_settings_have_their_defaults(settings: Settings) -> None:
    del settings.ANYMAIL
    assert [setting.get() for setting in conf.SETTINGS] == [setting.default for setting in conf.SETTINGS]


def test_every_setting_is_listed_and_known_to_the_check_of_setting_names() -> None:
    found = [one for one in vars(conf).values() if isinstance(one, Setting)]
    assert sorted(one.name for one in found) == sorted(one.name for one in conf.SETTINGS)
    assert {one.name for one in found} <= registered.keys()


def test_only_the_api_key_is_read_from_the_root_of_the_settings(settings: Settings) -> None:
    settings.ANYMAIL = {}
    settings.SENDGRID_API_KEY, settings.SENDGRID_API_URL = "SG.root", "https://root.example/"
    assert conf.API_KEY.get() == "SG.root"
    assert conf.API_URL.get() == conf.API_URL.default
    assert conf.API_KEY.places() == [
        *("ANYMAIL['SENDGRID_API_KEY']", "ANYMAIL_SENDGRID_API_KEY", "SENDGRID_API_KEY")
    ]
    assert conf.API_URL.places() == ["ANYMAIL['SENDGRID_API_URL']", "ANYMAIL_SENDGRID_API_URL"]


def test_a_passed_value_overrides_the_setting_and_is_named_in_errors(anymail: Callable[..., None]) -> None:
    anymail(SEND_MAX_AGE=5)
    assert conf.MAX_AGE.get(7, "The mailer 'news'") == 7
    with pytest.raises(
        ImproperlyConfigured, match=r"^The mailer 'news''s argument for SEND_MAX_AGE: must be"
    ):
        conf.MAX_AGE.get("x", "The mailer 'news'")


def test_an_empty_api_key_is_none(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="")
    assert conf.API_KEY.get() is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://api.eu.sendgrid.com/v3", "https://api.eu.sendgrid.com/v3/"),
        ("http://127.0.0.1:8025/v3/", "http://127.0.0.1:8025/v3/"),
    ],
)
def test_an_api_url_gets_a_trailing_slash(anymail: Callable[..., None], value: str, expected: str) -> None:
    anymail(SENDGRID_API_URL=value)
    assert conf.API_URL.get() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, (5.0, 5.0)), (60, (10.0, 60.0)), (2.5, (2.5, 2.5)), ((20, 60), (20.0, 60.0)), ([1, 2], (1.0, 2.0))],
)
def test_a_timeout_is_one_number_or_a_pair(
    anymail: Callable[..., None], value: Any, expected: tuple[float, float]
) -> None:
    anymail(REQUESTS_TIMEOUT=value)
    assert conf.REQUESTS_TIMEOUT.get() == expected


@pytest.mark.parametrize("value", ["-{}-", "{{{{{}}}}}", "{}"])
def test_a_merge_field_format_has_a_placeholder(anymail: Callable[..., None], value: str) -> None:
    anymail(SENDGRID_MERGE_FIELD_FORMAT=value)
    assert conf.MERGE_FIELD_FORMAT.get() == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENDGRID_API_KEY", 17),
        ("SENDGRID_API_URL", "api.sendgrid.com"),
        ("SENDGRID_API_URL", "ftp://api.sendgrid.com/"),
        ("SENDGRID_API_URL", "https:///v3/"),
        ("SENDGRID_API_URL", "https://["),
        ("SENDGRID_API_URL", "https://user:s3cr3t/s3cr3t@api.sendgrid.com/"),
        ("SENDGRID_API_URL", "https://user:s3cr3t@api.sendgrid.com:s3cr3t/"),
        ("SENDGRID_GENERATE_MESSAGE_ID", "perhaps"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "name"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "{"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "{name}"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "{} {}"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "{.name}"),
        ("SENDGRID_MERGE_FIELD_FORMAT", "{0[name]}"),
        ("SEND_DEFAULTS", ["tags"]),
        ("SEND_DEFAULTS", {1: 2}),
        ("SENDGRID_SEND_DEFAULTS", "tags"),
        ("IDNA_ENCODER", 1),
        ("SENDGRID_IDNA_ENCODER", ""),
        ("REQUESTS_TIMEOUT", 0),
        ("REQUESTS_TIMEOUT", "30"),
        ("REQUESTS_TIMEOUT", (1, 2, 3)),
        ("REQUESTS_TIMEOUT", (1, None)),
        ("REQUESTS_TIMEOUT", True),
        ("REQUESTS_TIMEOUT", float("inf")),
        ("REQUESTS_TIMEOUT", float("nan")),
        ("REQUESTS_TIMEOUT", (1, 3601)),
        ("IGNORE_UNSUPPORTED_FEATURES", 2),
        ("SEND_MAX_AGE", 0),
        ("SEND_MAX_AGE", 1.5),
        ("SEND_UNKNOWN_WAIT", -1),
        ("SEND_BULK_ABOVE", "many"),
        ("OUTBOX_BODY_DAYS", True),
        ("OUTBOX_RETENTION_DAYS", -1),
        ("OUTBOX_RETENTION_DAYS", False),
        ("OUTBOX_ENCRYPTION_KEYS", "s3cr3t"),
        ("OUTBOX_ENCRYPTION_KEYS", ["s3cr3t" * 7 + "==", 1]),
        ("OUTBOX_RETENTION_DAYS", 999_999),
        ("SEND_MAX_AGE", 10**30),
    ],
)
def test_an_unusable_value_raises_an_error_that_names_its_setting(
    anymail: Callable[..., None], name: str, value: object
) -> None:
    anymail(**{name: value})
    setting = next(one for one in conf.SETTINGS if one.name == name)
    with pytest.raises(ImproperlyConfigured, match="ANYMAIL") as raised:
        setting.get()
    assert f"ANYMAIL[{name!r}]" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        (" ", ""),
        ("https://example.com", "https://example.com/"),
        ("https://example.com/mail/", "https://example.com/mail/"),
        ("http://localhost:8000/mail/", "http://localhost:8000/mail/"),
        ("http://127.0.0.1:8000/mail", "http://127.0.0.1:8000/mail/"),
        ("http://shop.localhost/", "http://shop.localhost/"),
    ],
)
def test_a_url_of_links_to_unsubscribe_gets_a_trailing_slash(
    anymail: Callable[..., None], value: str, expected: str
) -> None:
    anymail(UNSUBSCRIBE_URL=value)
    assert conf.UNSUBSCRIBE_URL.get() == expected


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (1, "must be a string"),
        ("mail.example.com", "must be an http or https URL"),
        ("/mail/", "must be an http or https URL"),
        ("http://example.com/mail/", "must be an https URL"),
        ("http://localhost.example.com/", "must be an https URL"),
        ("https://example.com/?a=b", "without a query"),
        ("https://example.com/#a", "without a query"),
        ("https://example.com/a b", "of ASCII characters"),
        ("https://exämple.com/", "of ASCII characters"),
        ("https://example.com/<a>", "of ASCII characters"),
    ],
)
def test_a_url_of_links_to_unsubscribe_is_public_and_fits_into_a_header(
    anymail: Callable[..., None], value: object, fault: str
) -> None:
    anymail(UNSUBSCRIBE_URL=value)
    with pytest.raises(ImproperlyConfigured, match=fault):
        conf.UNSUBSCRIBE_URL.get()


def test_with_debug_links_to_unsubscribe_may_be_http(
    anymail: Callable[..., None], settings: Settings
) -> None:
    settings.DEBUG = True
    anymail(UNSUBSCRIBE_URL="http://192.168.1.5:8000/mail/")
    assert conf.UNSUBSCRIBE_URL.get() == "http://192.168.1.5:8000/mail/"


@pytest.mark.parametrize(("days", "fits"), [(29, False), (30, True), (3650, True)])
def test_links_to_unsubscribe_work_for_a_month_at_least(
    anymail: Callable[..., None], days: int, fits: bool
) -> None:
    anymail(UNSUBSCRIBE_DAYS=days)
    if fits:
        assert conf.UNSUBSCRIBE_DAYS.get() == days
    else:
        with pytest.raises(ImproperlyConfigured, match="US law asks for 30 days"):
            conf.UNSUBSCRIBE_DAYS.get()
