"""What is wrong is named before the first post comes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks
from django.db import connections
from django.http import HttpResponse
from django.urls import path
from kombu import Queue
from pytest_django import Settings

from events_app.checks import check_celery, check_database, check_settings
from events_app.inbound import storage
from fake_sendgrid.webhook import Sender
from project import celery_app
from tests.support.databases import Router
from tests.support.inbound.storages import use_memory, use_storage

KEY = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"
INBOUND_KEY = "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY"


def ids() -> list[str | None]:
    return [found.id for found in check_settings()]


def test_settings_of_a_sound_deployment(anymail: Callable[..., None]) -> None:
    assert ids() == []
    keys = [Sender().public_key, Sender().public_key]
    anymail(WEBHOOK_SECRET=[], **{KEY: keys, INBOUND_KEY: keys})
    assert ids() == []


def test_they_are_registered() -> None:
    assert {check_settings, check_database, check_celery} <= set(checks.registry.registry.get_checks())
    assert checks.run_checks(tags=[checks.Tags.security, checks.Tags.database], databases=["default"]) == []


@pytest.mark.parametrize("value", ["a day", -1, True, False])
def test_a_value_that_cannot_be_used(anymail: Callable[..., None], value: object) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_MAX_AGE=value)
    (found,) = check_settings()
    assert (found.id, found.level) == ("events_app.E001", checks.ERROR)
    assert "ANYMAIL['SENDGRID_TRACKING_WEBHOOK_MAX_AGE']" in found.msg


def test_every_value_that_cannot_be_used_is_named_at_once(anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="guess", RECEIVER_TIME_LIMIT="long")
    assert ids() == ["events_app.E001", "events_app.E001"]


@pytest.mark.parametrize("name", [KEY, INBOUND_KEY])
@pytest.mark.parametrize("key", ["nonsense", "SG.an-api-key-pasted-by-mistake"])
def test_a_key_that_is_none(anymail: Callable[..., None], name: str, key: str) -> None:
    anymail(**{name: [Sender().public_key, key]})
    (found,) = check_settings()
    assert found.id == "events_app.E002"
    assert f"{name}, key 2: not a public key" in found.msg
    assert key not in str(found)


@pytest.mark.parametrize("secret", ["no-colon-in-this-one", ":password-without-user"])
def test_a_secret_that_is_no_pair(anymail: Callable[..., None], secret: str) -> None:
    anymail(WEBHOOK_SECRET=["sendgrid:a-secret-for-tests-only", secret])
    (found,) = check_settings()
    assert found.id == "events_app.E003"
    assert "entry 2" in found.msg
    assert secret not in str(found)


def test_nothing_that_says_whose_posts_to_take(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET=[])
    events, mails = check_settings()
    assert (events.id, mails.id) == ("events_app.E004", "events_app.E008")
    assert KEY in str(events.hint)
    assert INBOUND_KEY in str(mails.hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEYS", f"Did you mean '{KEY}'?"),
        ("WEBHOOK_SECRETS", "Did you mean 'WEBHOOK_SECRET'?"),
        ("DEDUPE", "Did you mean 'DEDUPE_BY'?"),
        ("MAILGUN_API_KEY", None),
        ("zzz", "It has no effect."),
    ],
)
def test_a_name_nobody_knows(anymail: Callable[..., None], name: str, hint: str | None) -> None:
    anymail(**{name: "value"})
    (found,) = check_settings()
    assert (found.id, found.level) == ("events_app.W001", checks.WARNING)
    assert name in found.msg
    assert hint is None or found.hint == hint


def test_anymails_own_names_are_known(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.key", SEND_DEFAULTS={}, IGNORE_RECIPIENT_STATUS=True)
    assert ids() == []


def test_a_password_that_can_be_guessed(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET="sendgrid:secret")
    (found,) = check_settings()
    assert found.id == "events_app.W002"
    assert "sendgrid:secret" not in str(found)


@pytest.mark.parametrize(
    ("name", "hours"),
    [("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", 24), ("SENDGRID_INBOUND_WEBHOOK_MAX_AGE", 72)],
)
def test_a_window_shorter_than_sendgrids_retries(anymail: Callable[..., None], name: str, hours: int) -> None:
    anymail(**{name: hours * 3600 - 1})
    assert ids() == ["events_app.W003"]
    for long_enough in (hours * 3600, 0):
        anymail(**{name: long_enough})
        assert ids() == []


@pytest.mark.parametrize(
    "options",
    [{}, {"transaction_mode": "IMMEDIATE"}, {"transaction_mode": "IMMEDIATE", "timeout": 5}, {"timeout": 20}],
)
def test_sqlite_that_will_meet_with_locks(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert [found.id for found in check_database()] == ["events_app.W004"]


def test_postgresql_needs_no_such_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Router, "events", "postgres")
    assert check_database() == []


def test_celery_set_up_as_the_workers_have_it() -> None:
    assert check_celery() == []


def test_tasks_that_run_in_the_web_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(celery_app.conf, "task_always_eager", True)
    assert [found.id for found in check_celery()] == ["events_app.E005"]


def test_a_queue_that_nobody_consumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(celery_app.conf, "task_queues", [Queue("celery"), Queue("sendgrid.events")])
    (found,) = check_celery()
    assert found.id == "events_app.E006"
    assert "lack sendgrid.inbound, sendgrid.recovery, sendgrid.retries" in found.msg
    monkeypatch.setitem(celery_app.conf, "task_create_missing_queues", True)
    assert check_celery() == []
    monkeypatch.setitem(celery_app.conf, "task_queues", None)
    assert check_celery() == []


def test_a_queue_of_mails_that_nobody_keeps(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    names = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery")
    monkeypatch.setitem(celery_app.conf, "task_queues", [Queue(name) for name in names])
    assert [found.id for found in check_celery()] == ["events_app.E006"]
    keep_no_mail(settings)
    assert check_celery() == []


def test_an_open_door(anymail: Callable[..., None], settings: Settings) -> None:
    anymail(WEBHOOK_SECRET=[], WEBHOOK_ALLOW_INSECURE=True)
    assert ids() == ["events_app.W005"]
    settings.DEBUG = True
    assert ids() == []


def test_without_a_door_nobody_asks_for_keys(anymail: Callable[..., None], settings: Settings) -> None:
    anymail(WEBHOOK_SECRET=[])
    settings.ROOT_URLCONF = (path("elsewhere", lambda request: HttpResponse()),)
    assert ids() == []


# Inbound mail


def keep_no_mail(settings: Settings) -> None:
    settings.STORAGES = {name: kept for name, kept in settings.STORAGES.items() if name != storage.ALIAS}


def test_who_keeps_no_mail_and_has_no_key_for_it_wants_none(
    anymail: Callable[..., None], settings: Settings
) -> None:
    keep_no_mail(settings)
    settings.MIDDLEWARE = []
    assert ids() == []
    anymail(WEBHOOK_SECRET=[], **{KEY: Sender().public_key})
    assert ids() == []


def test_a_key_for_mail_that_is_not_kept(anymail: Callable[..., None], settings: Settings) -> None:
    keep_no_mail(settings)
    anymail(**{INBOUND_KEY: Sender().public_key})
    (found,) = check_settings()
    assert found.id == "events_app.E007"
    assert 'STORAGES has no "sendgrid_inbound"' in found.msg


def test_a_storage_that_is_none(settings: Settings) -> None:
    use_storage(settings, "nowhere.Storage")
    (found,) = check_settings()
    assert found.id == "events_app.E007"
    assert "nowhere.Storage" in found.msg


def test_mail_that_is_kept_and_all_of_it_refused(anymail: Callable[..., None], settings: Settings) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: Sender().public_key})
    (found,) = check_settings()
    assert found.id == "events_app.E008"
    anymail(WEBHOOK_ALLOW_INSECURE=True)
    settings.DEBUG = True
    assert ids() == []


@pytest.mark.parametrize(
    ("media", "location", "shown"),
    [
        ("/srv/media", "/srv/media", True),
        ("/srv/media", "/srv/media/mail", True),
        ("/srv/media/", None, True),
        ("", None, True),
        ("/srv/media", "/srv/media-mail", False),
        ("/srv/media", "/srv", False),
        ("", "/srv", False),
        ("", "mail", False),
    ],
)
def test_mail_that_is_shown_to_the_world(
    settings: Settings, media: str, location: str | None, shown: bool
) -> None:
    settings.MEDIA_ROOT = media
    use_storage(settings, "django.core.files.storage.FileSystemStorage", location=location)
    assert ids() == ["events_app.W006"] * shown


def test_a_storage_elsewhere_is_asked_for_no_place(settings: Settings) -> None:
    use_memory(settings)
    assert ids() == []


@pytest.mark.parametrize("where", [None, 1])
def test_mail_that_nobody_keeps_from_middleware(settings: Settings, where: int | None) -> None:
    keeper, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = others if where is None else [*others[:where], keeper, *others[where:]]
    (found,) = check_settings()
    assert (found.id, found.level) == ("events_app.W007", checks.WARNING)
    assert found.msg.startswith(f"{keeper} is not the first")


def test_without_a_door_for_mail_nobody_asks_for_what_it_needs(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(WEBHOOK_SECRET=[])
    settings.MIDDLEWARE = []
    settings.ROOT_URLCONF = (path("elsewhere", lambda request: HttpResponse()),)
    assert ids() == []
