"""System checks of what can be wrong before the first post comes.

`manage.py test` runs all but those of `check --deploy`. Whether a server can take posts matters only in a
deployment.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from django.db import DatabaseError, InterfaceError, connections, router
from django.urls import NoReverseMatch, reverse

from events_app import conf, leftovers, tasks
from events_app.inbound import storage
from events_app.middleware import KeepInboundMail
from events_app.models import ErasedPerson, Event
from events_app.shared.checks import hint, missing_queues, names_in_anymail, not_chosen, unusable
from events_app.shared.eager import EAGER_IN_TESTS, is_eager
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY
from events_app.shared.setting import Setting, registered
from events_app.signals import inbound, tracking
from events_app.views import bearer
from events_app.views.authentication import accepts_nobody
from events_app.views.basic_auth import check_secret
from events_app.views.signature import load_key

#: Characters below which a password can be guessed.
SHORTEST_PASSWORD = 16

#: A command that prints a password.
MAKE_PASSWORD = "python -c 'import secrets; print(secrets.token_urlsafe(24))'"  # noqa: S105

#: Hours for which SendGrid posts again: a shorter window for signatures loses posts after an outage.
RETRIES = ((conf.SIGNATURE_MAX_AGE, 24), (conf.INBOUND_SIGNATURE_MAX_AGE, 72))


@register(Tags.security)
def check_webhook_settings(**_: Any) -> list[CheckMessage]:
    """Check the names in `ANYMAIL`, and the values of this app's settings."""
    known = registered.keys() | leftovers.SENDING_SETTINGS
    unknown = [
        checks.Warning(
            f"ANYMAIL[{name!r}] is not a setting of this project.",
            hint=hint(name, known),
            id="events_app.W001",
        )
        for name in sorted(names_in_anymail() - known)
        if not leftovers.is_anymails(name)
    ]
    # The other checks need settings that can be read.
    messages = unusable(conf.SETTINGS, "events_app.E001") or [
        *_check_signatures(),
        *_check_secrets(conf.BASIC_AUTH),
        *_check_secrets(conf.OAUTH_CLIENTS),
        *_check_issuer(),
        *_check_metrics_token(),
        *_check_way_of_mail(),
    ]
    return [*unknown, *messages]


@register(Tags.security, deploy=True)
def check_webhooks_accept_posts(**_: Any) -> list[CheckMessage]:
    """Check that each webhook with a URL accepts authentic posts of SendGrid and no other post."""
    if unusable(conf.SETTINGS, "events_app.E001"):  # `check_webhook_settings` reports them
        return []
    return [*_check_tracking_webhook(), *_check_inbound_webhook()]


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    """Check SQLite for the settings without which two writers get lock errors."""
    if unusable([EAGER_IN_TESTS], "events_app.E001") or is_eager():
        return []  # `check_webhook_settings` reports the first; a test run has no worker
    alias = router.db_for_write(Event)
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return []
    options = connection.settings_dict.get("OPTIONS", {})
    if options.get("transaction_mode") == "IMMEDIATE" and options.get("timeout", 5) >= 20:
        return []
    return [
        checks.Warning(
            f'The SQLite database "{alias}" will have lock errors under a worker.',
            hint='Set OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, '
            '"init_command": "PRAGMA journal_mode=WAL"}, or use PostgreSQL.',
            id="events_app.W004",
        )
    ]


@register(Tags.database)
def check_key_of_erased_persons(*, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the key of the pseudonyms is there while the database has erased persons."""
    alias = router.db_for_write(ErasedPerson)
    # Django 5.2 calls this also without `--database`, and without databases.
    if alias not in (databases or ()) or unusable([PERSONAL_DATA_KEY, EAGER_IN_TESTS], "events_app.E001"):
        return []
    if PERSONAL_DATA_KEY.get() or is_eager():
        return []
    try:
        if not ErasedPerson.objects.using(alias).exists():
            return []
    except (DatabaseError, InterfaceError):  # is away, or the migrations have not run yet
        return []
    return [
        checks.Warning(
            f"{PERSONAL_DATA_KEY.name} is not set, and the database has erased persons: their suppressions "
            "do not hold, and later events of them are stored with their address.",
            hint="Set the key with which they were erased.",
            id="events_app.W026",
        )
    ]


@register()
def check_event_queues(**_: Any) -> list[CheckMessage]:
    """Check that a worker can get the wake-ups."""
    needed = {tasks.EVENTS, tasks.RETRIES, tasks.RECOVERY, *[tasks.INBOUND] * storage.is_configured()}
    if missing := missing_queues(needed):
        return [Error(f"The Celery app's task_queues lack {', '.join(missing)}.", id="events_app.E006")]
    return []


@register(deploy=True)
def check_event_tasks_are_queued(**_: Any) -> list[CheckMessage]:
    """Check that the webhooks leave their work to workers."""
    if not current_app.conf.task_always_eager:
        return []
    return [
        Error(
            "task_always_eager is on: the webhook would call receivers itself before it answers.",
            hint="Turn it off, and run a worker.",
            id="events_app.E005",
        )
    ]


@register(deploy=True)
def check_retention_of_events(**_: Any) -> list[CheckMessage]:
    """Check that the project has decided how long events are kept."""
    return not_chosen(conf.RETENTION_DAYS, "events", "events_app.W016")


@register()
def check_receiver_names(**_: Any) -> list[CheckMessage]:
    """Check for receivers whose name in the records of failures is derived."""
    return [
        checks.Warning(
            f"A receiver of `{name}` has the derived name {derived!r}.",
            hint="A failed receiver is retried by its name, and this name may change with the code or the "
            "order of connection. Give the receiver a name of its own: connect(..., dispatch_uid='...').",
            id="events_app.W008",
        )
        for name, signal in (("tracking", tracking), ("inbound", inbound))
        for derived in signal.derived_names()
    ]


def _check_signatures() -> Iterable[CheckMessage]:
    for setting in (conf.VERIFICATION_KEYS, conf.INBOUND_KEYS):
        for number, key in enumerate(setting.get(), 1):
            try:
                load_key(key)
            except ValueError as error:
                yield Error(f"{setting.name}, key {number}: {error}.", id="events_app.E002")
    for max_age, hours in RETRIES:
        window = max_age.get()
        if window is not None and window < hours * 3600:
            yield checks.Warning(
                f"{max_age.name} is {window} seconds; SendGrid retries for {hours} hours.",
                hint="If its retries keep the first signature, an outage longer than this loses posts.",
                id="events_app.W003",
            )


def _check_secrets(setting: Setting[tuple[str, ...]]) -> Iterable[CheckMessage]:
    for number, secret in enumerate(setting.get(), 1):
        try:
            check_secret(secret)
        except ValueError as error:
            yield Error(
                f"{setting.name}, entry {number}: {error}.",
                hint="The webhook accepts no post with this entry. Make a password of letters, digits, - and "
                f"_: {MAKE_PASSWORD}",
                id="events_app.E003",
            )
            continue
        if len(secret.partition(":")[2]) < SHORTEST_PASSWORD:
            yield checks.Warning(
                f"{setting.name}, entry {number}: the password is too short.",
                hint=f"It has under {SHORTEST_PASSWORD} characters. Make one: {MAKE_PASSWORD}",
                id="events_app.W002",
            )


def _check_issuer() -> Iterable[CheckMessage]:
    if fault := bearer.fault_of_issuer():
        yield Error(
            f"{fault}.",
            hint="Until then a post with a token of this issuer gets 503.",
            id="events_app.E009",
        )
    elif not conf.OAUTH_ISSUER.get() and (conf.OAUTH_JWKS_URL.get() or conf.OAUTH_AUDIENCE.get()):
        yield Error(
            f"{conf.OAUTH_ISSUER.name} is not set, so no token of another issuer opens the webhooks.",
            hint="Set it to the claim `iss` of the issuer's tokens, or remove the other settings.",
            id="events_app.E009",
        )


def _check_tracking_webhook() -> Iterable[CheckMessage]:
    if not _has_url("sendgrid_tracking_webhook"):
        return
    if conf.ALLOW_INSECURE.get():
        if not settings.DEBUG:
            yield checks.Warning(
                f"{conf.ALLOW_INSECURE.name} is on: anybody can post events.", id="events_app.W005"
            )
    elif accepts_nobody(conf.BASIC_AUTH.get(), conf.VERIFICATION_KEYS.get()):
        yield Error(
            "The webhook rejects every post: no key, password or OAuth client is set.",
            hint=f"Set {conf.VERIFICATION_KEYS.name} to the verification key from SendGrid's Event Webhook "
            f'settings, {conf.BASIC_AUTH.name} to "user:password", or {conf.OAUTH_CLIENTS.name} to '
            '"id:secret".',
            id="events_app.E004",
        )


def _check_inbound_webhook() -> Iterable[CheckMessage]:
    if not _takes_mail():
        return
    try:
        backend = storage.backend()
    except ImproperlyConfigured as error:
        yield Error(f"No inbound mail can be kept: {error}.", id="events_app.E007")
    else:
        if isinstance(backend, FileSystemStorage):
            # Projects without a folder for media have "" or None. Then this is the working directory, where a
            # storage without a location keeps mails.
            media = Path(os.path.abspath(settings.MEDIA_ROOT or ""))
            folder = Path(backend.location)
            if folder == media or (settings.MEDIA_ROOT and folder.is_relative_to(media)):
                yield checks.Warning(
                    "Inbound mails are stored under MEDIA_ROOT, whose files are usually public.",
                    hint=f'Give STORAGES["{storage.ALIAS}"] a location of its own.',
                    id="events_app.W006",
                )
            yield from _check_may_write(folder)
    if accepts_nobody(conf.BASIC_AUTH.get(), conf.INBOUND_KEYS.get()) and not conf.ALLOW_INSECURE.get():
        yield Error(
            "The inbound webhook rejects every mail: no key, password or OAuth client is set.",
            hint=f"Set {conf.INBOUND_KEYS.name} to the key of your security policy for Inbound Parse, "
            f'{conf.BASIC_AUTH.name} to "user:password", or {conf.OAUTH_CLIENTS.name} to "id:secret".',
            id="events_app.E008",
        )


def _check_may_write(location: Path) -> Iterable[CheckMessage]:
    for folder in {location, Path(settings.FILE_UPLOAD_TEMP_DIR or location)}:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
            yield checks.Warning(
                f"Inbound mails cannot be stored: this user may not write to {folder}.",
                hint="Each mail would get 503. Give the folder to the user of web and the workers, and run "
                "every command as this user: folders that root makes belong to root.",
                id="events_app.W025",
            )


def _check_metrics_token() -> Iterable[CheckMessage]:
    if 0 < len(conf.METRICS_TOKEN.get()) < SHORTEST_PASSWORD:
        yield checks.Warning(
            f"{conf.METRICS_TOKEN.name} has fewer than {SHORTEST_PASSWORD} characters.",
            hint=f"A stranger could guess it. Make one with: {MAKE_PASSWORD}",
            id="events_app.W009",
        )


def _check_way_of_mail() -> Iterable[CheckMessage]:
    middleware = f"{KeepInboundMail.__module__}.{KeepInboundMail.__qualname__}"
    if _takes_mail() and settings.MIDDLEWARE[:1] != [middleware]:
        yield checks.Warning(
            f"{middleware} is not the first in MIDDLEWARE: a wrong ALLOWED_HOSTS, or a redirect, loses mail.",
            hint="SendGrid drops a mail for good after a 3xx or 4xx. Put it there.",
            id="events_app.W007",
        )


def _takes_mail() -> bool:
    is_configured = bool(conf.INBOUND_KEYS.get()) or storage.is_configured()
    return is_configured and _has_url("sendgrid_inbound_webhook")


def _has_url(name: str) -> bool:
    """Whether urls.py routes to this view."""
    try:
        reverse(f"events_app:{name}")
    except NoReverseMatch:
        return False
    return True
