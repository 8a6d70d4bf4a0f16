"""What is wrong is named before the first post comes."""

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from kombu import Queue
from pytest_django import Settings

from events_app.checks import (
    check_database,
    check_event_queues,
    check_event_tasks_are_queued,
    check_key_of_erased_persons,
    check_receiver_names,
    check_retention_of_events,
    check_webhook_settings,
    check_webhooks_accept_posts,
)
from events_app.inbound import storage
from events_app.leftovers import check_leftovers
from events_app.models import ErasedPerson
from events_app.signals import InboundSignal, ReceiverSignal
from fake_sendgrid.webhook_sender import WebhookSender
from sending_app.checks import check_mail_settings
from tests.support.databases import Router, database_away
from tests.support.inbound.storages import use_folder, use_memory, use_storage
from workers.app import app

KEY = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"
INBOUND_KEY = "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY"


def deploy_check() -> list[checks.CheckMessage]:
    """What `check --deploy` finds in the settings of the webhooks."""
    return [*check_webhook_settings(), *check_webhooks_accept_posts()]


def ids() -> list[str | None]:
    return [found.id for found in deploy_check()]


def test_sound_settings_pass_the_checks(anymail: Callable[..., None]) -> None:
    assert ids() == []
    keys = [WebhookSender().public_key, WebhookSender().public_key]
    anymail(WEBHOOK_SECRET=[], **{KEY: keys, INBOUND_KEY: keys})
    assert ids() == []


@pytest.mark.django_db
def test_checks_are_registered() -> None:
    always = {check_webhook_settings, check_database, check_event_queues, check_receiver_names}
    assert always | {check_key_of_erased_persons} <= set(checks.registry.registry.get_checks())
    deploy = {check_webhooks_accept_posts, check_event_tasks_are_queued, check_retention_of_events}
    assert not deploy & set(checks.registry.registry.get_checks())
    assert deploy <= set(checks.registry.registry.get_checks(include_deployment_checks=True))
    assert checks.run_checks(tags=[checks.Tags.security, checks.Tags.database], databases=["default"]) == []


def test_a_retention_of_events_that_nobody_has_chosen_is_a_warning(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(EVENT_RETENTION_DAYS=None)
    (found,) = check_retention_of_events()
    assert (found.id, found.msg) == (
        "events_app.W016",
        "EVENT_RETENTION_DAYS is not set: events are removed after 180 days.",
    )
    for value in (0, 30, "bad"):
        anymail(EVENT_RETENTION_DAYS=value)
        assert check_retention_of_events() == []
    settings.ANYMAIL = "no dict"
    assert check_retention_of_events() == []


@pytest.mark.parametrize("value", ["a day", -1, True, False])
def test_an_unusable_value_is_an_error(anymail: Callable[..., None], value: object) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_MAX_AGE=value)
    (found,) = deploy_check()
    assert (found.id, found.level) == ("events_app.E001", checks.ERROR)
    assert "ANYMAIL['SENDGRID_TRACKING_WEBHOOK_MAX_AGE']" in found.msg


def test_all_unusable_values_are_named_at_once(anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="guess", RECEIVER_TIME_LIMIT="long")
    assert ids() == ["events_app.E001", "events_app.E001"]


@pytest.mark.parametrize("value", [[], ["SENDGRID_API_KEY"], "SG.key", None, 7])
def test_anymail_that_is_no_dict_is_one_error(settings: Settings, value: object) -> None:
    settings.ANYMAIL = value
    (found,) = deploy_check()
    assert found.id == "events_app.E001"
    assert found.msg == (
        f"ANYMAIL must be a dict of settings, not {type(value).__name__}: "
        'ANYMAIL = {"SENDGRID_API_KEY": "..."}'
    )
    (found,) = check_mail_settings()
    assert found.id == "sending_app.E001"
    assert check_database() == check_leftovers() == []


def test_a_name_in_anymail_that_is_no_text_is_a_warning(
    anymail: Callable[..., None], settings: Settings
) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, 7: "x"}
    (found,) = deploy_check()
    assert found.msg == "ANYMAIL['7'] is not a setting of this project."


@pytest.mark.parametrize("name", [KEY, INBOUND_KEY])
@pytest.mark.parametrize("key", ["nonsense", "SG.an-api-key-pasted-by-mistake"])
def test_an_invalid_public_key_is_an_error(anymail: Callable[..., None], name: str, key: str) -> None:
    anymail(**{name: [WebhookSender().public_key, key]})
    (found,) = deploy_check()
    assert found.id == "events_app.E002"
    assert f"{name}, key 2: not a public key" in found.msg
    assert key not in str(found)


def test_missing_webhook_keys_and_secrets_are_errors(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET=[])
    events, mails = deploy_check()
    assert (events.id, mails.id) == ("events_app.E004", "events_app.E008")
    assert KEY in str(events.hint)
    assert INBOUND_KEY in str(mails.hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEYS", f"Did you mean '{KEY}'?"),
        ("WEBHOOK_SECRETS", "Did you mean 'WEBHOOK_SECRET'?"),
        ("DEDUPE", "Did you mean 'DEDUPE_BY'?"),
        ("zzz", "It has no effect."),
    ],
)
def test_an_unknown_setting_name_is_a_warning(
    anymail: Callable[..., None], name: str, hint: str | None
) -> None:
    anymail(**{name: "value"})
    (found,) = deploy_check()
    assert (found.id, found.level) == ("events_app.W001", checks.WARNING)
    assert name in found.msg
    assert hint is None or found.hint == hint


def test_anymail_setting_names_are_known(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.key", SEND_DEFAULTS={}, IGNORE_RECIPIENT_STATUS=True)
    assert ids() == []


def test_a_guessable_password_is_a_warning(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET="sendgrid:secret")
    (found,) = deploy_check()
    assert found.id == "events_app.W002"
    assert "sendgrid:secret" not in str(found)


# OAuth


def test_a_client_of_oauth_is_a_credential(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET=[], WEBHOOK_OAUTH_CLIENTS="sendgrid:an-oauth-secret-for-tests-only")
    assert ids() == []


@pytest.mark.parametrize(
    "client", ["sendgrid", "sendgrid:", ":secret", "sendgrid:a-secret-with-a-line-end\n"]
)
def test_a_malformed_client_of_oauth_is_an_error(anymail: Callable[..., None], client: str) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=["sendgrid:an-oauth-secret-for-tests-only", client])
    (found,) = deploy_check()
    assert found.id == "events_app.E003"
    assert found.msg.startswith("WEBHOOK_OAUTH_CLIENTS, entry 2: ")
    assert client not in str(found)


def test_a_guessable_secret_of_oauth_is_a_warning(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS="sendgrid:secret")
    (found,) = deploy_check()
    assert found.id == "events_app.W002"
    assert "sendgrid:secret" not in str(found)


COMPLETE = {
    "WEBHOOK_OAUTH_ISSUER": "https://issuer.example.com/",
    "WEBHOOK_OAUTH_JWKS_URL": "https://issuer.example.com/keys",
    "WEBHOOK_OAUTH_AUDIENCE": "webhooks",
}


def test_a_whole_issuer_is_a_credential(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET=[], **COMPLETE)
    assert ids() == []


@pytest.mark.parametrize("missing", COMPLETE)
def test_an_incomplete_issuer_is_an_error(anymail: Callable[..., None], missing: str) -> None:
    anymail(**{**COMPLETE, missing: ""})
    (found,) = deploy_check()
    assert found.id == "events_app.E009"
    assert missing in found.msg


def test_an_issuer_without_pyjwt_is_an_error(
    anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    anymail(**COMPLETE)
    (found,) = deploy_check()
    assert found.id == "events_app.E009"
    assert "install django-sendgrid-pipeline[oauth]" in found.msg


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://issuer.example.com/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://localhost/keys", True),
        ("http://[::1]/keys", True),
        ("http://issuer.example.com/keys", False),
        ("http://127.0.0.1.example.com/keys", False),
        ("ftp://127.0.0.1/keys", False),
        ("https:///keys", False),
        ("file:///etc/keys", False),
        ("http://[/keys", False),
        ("keys", False),
        (7, False),
    ],
)
def test_keys_come_over_https_alone(anymail: Callable[..., None], url: object, is_safe: bool) -> None:
    anymail(**{**COMPLETE, "WEBHOOK_OAUTH_JWKS_URL": url})
    assert ids() == ([] if is_safe else ["events_app.E001"])


@pytest.mark.parametrize(
    ("name", "hours"),
    [("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", 24), ("SENDGRID_INBOUND_WEBHOOK_MAX_AGE", 72)],
)
def test_a_max_age_shorter_than_sendgrids_retries_is_a_warning(
    anymail: Callable[..., None], name: str, hours: int
) -> None:
    anymail(**{name: hours * 3600 - 1})
    assert ids() == ["events_app.W003"]
    for long_enough in (hours * 3600, 0):
        anymail(**{name: long_enough})
        assert ids() == []


@pytest.mark.parametrize(
    "options",
    [{}, {"transaction_mode": "IMMEDIATE"}, {"transaction_mode": "IMMEDIATE", "timeout": 5}, {"timeout": 20}],
)
def test_sqlite_options_that_cause_lock_errors_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert [found.id for found in check_database()] == ["events_app.W004"]


def test_a_test_run_is_not_warned_of_lock_errors_of_workers(
    monkeypatch: pytest.MonkeyPatch, anymail: Callable[..., None]
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})
    anymail(EAGER_IN_TESTS=True)
    assert check_database() == []


@pytest.mark.django_db(databases=["default", "postgres"])
@pytest.mark.parametrize("arguments", [(), ("--database", "default")])
def test_settings_for_tests_stop_no_command_and_are_errors_in_a_deployment(
    anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    anymail(WEBHOOK_SECRET=[])
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    call_command("check", *arguments)
    with pytest.raises(SystemCheckError) as raised:
        call_command("check", "--deploy", *arguments)
    found = set(re.findall(r"events_app\.E\d+", str(raised.value)))
    assert found == {"events_app.E004", "events_app.E005", "events_app.E008"}


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_erased_persons_without_the_key_are_a_warning(anymail: Callable[..., None], database: str) -> None:
    def ids() -> list[str | None]:
        return [found.id for found in check_key_of_erased_persons(databases=[database])]

    assert ids() == []
    ErasedPerson.objects.using(database).create(pseudonym="erased-1@erased.invalid", erased_at=timezone.now())
    assert ids() == ["events_app.W026"]
    assert check_key_of_erased_persons() == check_key_of_erased_persons(databases=["other"]) == []
    with database_away(database):
        assert ids() == []
    for key in ("a-key-of-personal-data-for-tests-only", "short"):
        anymail(PERSONAL_DATA_KEY=key)
        assert ids() == []
    anymail(PERSONAL_DATA_KEY="", EAGER_IN_TESTS=True)
    assert ids() == []


def test_postgresql_needs_no_sqlite_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Router, "events", "postgres")
    assert check_database() == []


def test_the_celery_settings_of_workers_pass_the_checks() -> None:
    assert check_event_queues() == check_event_tasks_are_queued() == []


def test_eager_tasks_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    assert check_event_queues() == []
    assert [found.id for found in check_event_tasks_are_queued()] == ["events_app.E005"]


def test_a_queue_missing_from_task_queues_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.conf, "task_queues", [Queue("celery"), Queue("sendgrid.events")])
    (found,) = check_event_queues()
    assert found.id == "events_app.E006"
    assert "lack sendgrid.inbound, sendgrid.recovery, sendgrid.retries" in found.msg
    monkeypatch.setitem(app.conf, "task_create_missing_queues", True)
    assert check_event_queues() == []
    monkeypatch.setitem(app.conf, "task_queues", None)
    assert check_event_queues() == []


def test_the_inbound_queue_may_be_missing_without_inbound_storage(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    names = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery")
    monkeypatch.setitem(app.conf, "task_queues", [Queue(name) for name in names])
    assert [found.id for found in check_event_queues()] == ["events_app.E006"]
    keep_no_mail(settings)
    assert check_event_queues() == []


def test_an_insecure_webhook_is_a_warning_outside_debug(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(WEBHOOK_SECRET=[], WEBHOOK_ALLOW_INSECURE=True)
    assert ids() == ["events_app.W005"]
    settings.DEBUG = True
    assert ids() == []


def test_without_the_webhook_url_keys_are_not_required(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(WEBHOOK_SECRET=[])
    settings.ROOT_URLCONF = (path("elsewhere", lambda request: HttpResponse()),)
    assert ids() == []


# Inbound mail


def keep_no_mail(settings: Settings) -> None:
    settings.STORAGES = {name: kept for name, kept in settings.STORAGES.items() if name != storage.ALIAS}


def test_without_inbound_storage_and_key_inbound_is_not_checked(
    anymail: Callable[..., None], settings: Settings
) -> None:
    keep_no_mail(settings)
    settings.MIDDLEWARE = []
    assert ids() == []
    anymail(WEBHOOK_SECRET=[], **{KEY: WebhookSender().public_key})
    assert ids() == []


def test_an_inbound_key_without_storage_is_an_error(anymail: Callable[..., None], settings: Settings) -> None:
    keep_no_mail(settings)
    anymail(**{INBOUND_KEY: WebhookSender().public_key})
    (found,) = deploy_check()
    assert found.id == "events_app.E007"
    assert 'STORAGES has no "sendgrid_inbound"' in found.msg


def test_an_unimportable_storage_is_an_error(settings: Settings) -> None:
    use_storage(settings, "nowhere.Storage")
    (found,) = deploy_check()
    assert found.id == "events_app.E007"
    assert "nowhere.Storage" in found.msg


def test_inbound_storage_without_an_inbound_key_is_an_error(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: WebhookSender().public_key})
    (found,) = deploy_check()
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
        (None, "/srv", False),
    ],
)
def test_inbound_storage_below_media_root_is_a_warning(
    settings: Settings, media: str | None, location: str | None, shown: bool
) -> None:
    settings.MEDIA_ROOT = media
    use_storage(settings, "django.core.files.storage.FileSystemStorage", location=location)
    assert ids() == ["events_app.W006"] * shown


@pytest.mark.parametrize("below", ["", "to/be/made"])
@pytest.mark.parametrize("which", ["location", "incoming"])
def test_a_folder_of_inbound_mails_that_this_user_may_not_write_to_is_a_warning(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, below: str
) -> None:
    mine, of_another = tmp_path / "mine", tmp_path / "of another"
    use_folder(settings, mine)
    of_another.mkdir()
    # Root, who may run this test, may write everywhere.
    may_write = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != of_another and may_write(path, mode))
    assert ids() == []
    if which == "location":
        use_storage(settings, "django.core.files.storage.FileSystemStorage", location=str(of_another / below))
    else:
        settings.FILE_UPLOAD_TEMP_DIR = str(of_another / below)
    (found,) = deploy_check()
    assert (found.id, str(of_another / below) in found.msg) == ("events_app.W025", True)


def test_a_file_in_place_of_the_folder_of_inbound_mails_is_a_warning(
    settings: Settings, tmp_path: Path
) -> None:
    use_folder(settings, tmp_path)
    (tmp_path / "file").touch()
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path / "file")
    assert ids() == ["events_app.W025"]


def test_a_remote_storage_without_a_location_passes_the_checks(settings: Settings) -> None:
    use_memory(settings)
    assert ids() == []


@pytest.mark.parametrize("where", [None, 1])
def test_inbound_middleware_that_is_not_first_is_a_warning(settings: Settings, where: int | None) -> None:
    keeper, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = others if where is None else [*others[:where], keeper, *others[where:]]
    (found,) = deploy_check()
    assert (found.id, found.level) == ("events_app.W007", checks.WARNING)
    assert found.msg.startswith(f"{keeper} is not the first")


def test_without_the_inbound_url_inbound_settings_are_not_required(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(WEBHOOK_SECRET=[])
    settings.MIDDLEWARE = []
    settings.ROOT_URLCONF = (path("elsewhere", lambda request: HttpResponse()),)
    assert ids() == []


def test_a_derived_name_of_a_receiver_is_a_warning_that_advises_a_dispatch_uid(
    tracking: ReceiverSignal, inbound: InboundSignal
) -> None:
    def receiver(**_: object) -> None: ...

    one, other = partial(receiver), lambda **_: None
    tracking.connect(receiver)
    tracking.connect(one, dispatch_uid="one")
    assert check_receiver_names() == []
    tracking.connect(partial_receiver := partial(one))
    inbound.connect(other, to="a@*")
    inbound.connect(again := (lambda **_: None))
    found = check_receiver_names()
    assert {each.id for each in found} == {"events_app.W008"}
    assert all("dispatch_uid='...'" in str(each.hint) for each in found)
    name = f"{__name__}.test_a_derived_name_of_a_receiver_is_a_warning_that_advises_a_dispatch_uid.<locals>"
    assert [each.msg for each in found] == [
        f"A receiver of `tracking` has the derived name '{name}.receiver'.",
        f"A receiver of `tracking` has the derived name '{name}.receiver#2'.",
        f"A receiver of `inbound` has the derived name '{name}.<lambda>'.",
        f"A receiver of `inbound` has the derived name '{name}.<lambda>#2'.",
    ]
    del partial_receiver, again
