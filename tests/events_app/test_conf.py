"""Where a setting is looked up, and what it may hold."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from events_app import conf
from events_app.shared import eager, redis
from events_app.shared.log import failures
from events_app.shared.personal_data import pseudonyms
from events_app.shared.setting import Setting

BARE = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"
TOO_SHORT = "must be at least 2: SendGrid repeats events for a day or more, and must find them here"


def test_a_setting_is_looked_up_in_the_documented_order(settings: Settings) -> None:
    found: list[str] = []
    settings.SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY = "plain"
    found += conf.VERIFICATION_KEYS.get()
    settings.ANYMAIL_SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY = "prefixed"
    found += conf.VERIFICATION_KEYS.get()
    settings.ANYMAIL = {BARE: "in the dict"}
    found += conf.VERIFICATION_KEYS.get()
    found += conf.VERIFICATION_KEYS.get("of the view")
    assert found == ["plain", "prefixed", "in the dict", "of the view"]


def test_a_generic_name_is_only_looked_up_with_the_anymail_prefix(settings: Settings) -> None:
    settings.ANYMAIL = {}
    settings.WEBHOOK_SECRET = "plain:name"
    assert conf.BASIC_AUTH.get() == ()
    settings.ANYMAIL_WEBHOOK_SECRET = "long:name"
    assert conf.BASIC_AUTH.get() == ("long:name",)


def test_unset_settings_have_their_defaults(settings: Settings) -> None:
    del settings.ANYMAIL
    assert [setting.get() for setting in conf.SETTINGS] == [setting.default for setting in conf.SETTINGS]


def test_a_view_argument_overrides_the_setting_with_an_empty_value() -> None:
    assert conf.BASIC_AUTH.get()
    assert conf.BASIC_AUTH.get([]) == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("one:secret", ("one:secret",)),
        (["one:secret", "other:secret"], ("one:secret", "other:secret")),
        (("one:secret",), ("one:secret",)),
        ("", ()),
        (["", " ", "one:secret"], ("one:secret",)),
        (None, ()),
    ],
)
def test_basic_auth_accepts_text_or_a_list(
    settings: Settings, value: object, expected: tuple[str, ...]
) -> None:
    settings.ANYMAIL = {"WEBHOOK_SECRET": value}
    assert conf.BASIC_AUTH.get() == expected


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WEBHOOK_SECRET", 17, "must be a string or a list of strings"),
        ("WEBHOOK_SECRET", [b"user:secret"], "must be a string or a list of strings"),
        ("WEBHOOK_SECRET", {"user": "secret"}, "must be a string or a list of strings"),
        (BARE, b"key", "must be a string or a list of strings"),
        ("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", "300", "must be a whole number of at least 1"),
        ("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", 0.0, "must be a whole number of at least 1"),
        ("SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT", True, "must be a whole number of at least 1"),
        ("EVENT_BACKLOG_LIMIT", 1.5, "must be a whole number of at least 1"),
        ("RECEIVER_TIME_LIMIT", -1, "must be a whole number of at least 1"),
        ("RECEIVER_MAX_ATTEMPTS", 0, "must be a whole number of at least 1"),
        ("RECEIVER_RETRY_DELAY", 0.5, "must be a whole number of at least 1"),
        ("ATOMIC_DISPATCH", "perhaps", "must be True or False"),
        ("ATOMIC_DISPATCH", "", "must be True or False"),
        ("ATOMIC_DISPATCH", 2, "must be True or False"),
        ("ATOMIC_DISPATCH", [], "must be True or False"),
        ("EVENT_RETENTION_DAYS", False, "must be a whole number of at least 1"),
        ("EVENT_RETENTION_DAYS", "30", "must be a whole number of at least 1"),
        ("EVENT_RETENTION_DAYS", 1, TOO_SHORT),
        ("EVENT_RETENTION_DAYS", 36_501, "must be at most 36500 days, a hundred years"),
        ("INBOUND_RETENTION_DAYS", 10**30, "must be at most 1000000000"),
        ("RECEIVER_TIME_LIMIT", 10**9 + 1, "must be at most 1000000000"),
        ("WEBHOOK_ALLOW_INSECURE", b"1", "must be True or False"),
        ("EVENT_REDIS_URL", "", "must be a string that is not empty"),
        ("EVENT_STREAM", 5, "must be a string that is not empty"),
        ("DEDUPE_BY", "sg_event_id", "must be one of: event_id, content"),
        ("DEDUPE_BY", ["content"], "must be one of: event_id, content"),
    ],
)
def test_an_unusable_value_raises_an_error_that_names_its_setting(
    settings: Settings, name: str, value: object, says: str
) -> None:
    (setting,) = (setting for setting in conf.SETTINGS if setting.name == name)
    settings.ANYMAIL = {name: value}
    with pytest.raises(ImproperlyConfigured) as raised:
        setting.get()
    assert str(raised.value) == f"ANYMAIL['{name}']: {says}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, True) for value in (True, 1, "True", "true", " YES ", "on", "1")),
        *((value, False) for value in (False, 0, "False", "false", "No", "off", "0")),
    ],
)
def test_a_flag_may_be_given_as_a_word_or_a_number(settings: Settings, value: object, expected: bool) -> None:
    settings.ANYMAIL = {"ATOMIC_DISPATCH": value}
    assert conf.ATOMIC_DISPATCH.get() is expected


@pytest.mark.parametrize(("value", "expected"), [(2, 2), (0, None), (None, 180)])
def test_retention_accepts_two_days_and_zero_for_ever(
    anymail: Callable[..., None], value: int | None, expected: int | None
) -> None:
    anymail(EVENT_RETENTION_DAYS=value)
    assert conf.RETENTION_DAYS.get() == expected


def test_an_unusable_view_argument_raises_an_error_that_names_it() -> None:
    with pytest.raises(ImproperlyConfigured, match="the view's argument for WEBHOOK_SECRET: must be"):
        conf.BASIC_AUTH.get(17)


def test_every_setting_is_listed_for_the_checks() -> None:
    defined = {value for value in vars(conf).values() if isinstance(value, Setting)}
    shared = {
        *(redis.REDIS_URL, redis.STREAM, eager.EAGER_IN_TESTS, failures.LOG_TRACEBACKS),
        pseudonyms.PERSONAL_DATA_KEY,
    }
    assert defined | shared == set(conf.SETTINGS)
