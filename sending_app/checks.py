"""What can be known to be wrong before the first mail is sent."""

import warnings
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from celery import current_app
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from sending_app import account, conf, tasks
from sending_app.compose import addresses
from sending_app.compose.defaults import KNOWN

#: Seconds below which the wait for events proves nothing. SendGrid gathers events for 30 seconds before it
#: posts them ("Event Webhook Overview"), and longer under load.
SHORTEST_WAIT = 120

#: Where the backends are.
QUEUED, DIRECT = "sending_app.backends.queued.EmailBackend", "sending_app.backends.direct.EmailBackend"


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Values that cannot be used, and mailers of ours without a key."""
    unusable: list[CheckMessage] = []
    for setting in conf.SETTINGS:
        try:
            setting.get()
        except ImproperlyConfigured as error:
            unusable.append(Error(str(error), id="sending_app.E001"))
    return unusable or [*_check_mailers(), *_check_encoders(), *_check_defaults(), *_check_wait()]


@register()
def check_celery(**_: Any) -> list[CheckMessage]:
    """Settings of the Celery app that keep mails from a worker."""
    if QUEUED not in dict(_mailers()).values():
        return []
    return [*_check_eager(), *_check_queues()]


def _mailers() -> Iterator[tuple[str, str]]:
    """Each mailer's alias, and the path of its backend."""
    if account.has_mailers():
        for alias, mailer in getattr(settings, "MAILERS", {}).items():
            yield alias, mailer.get("BACKEND", "")
    else:
        with warnings.catch_warnings():
            # Django 6.1 warns whoever reads it, and it is the project's to hear of, from Django.
            warnings.filterwarnings("ignore", "The EMAIL_BACKEND setting is deprecated")
            backend = settings.EMAIL_BACKEND
        yield account.DEFAULT_ALIAS, backend


def _check_mailers() -> Iterable[CheckMessage]:
    for alias, backend in _mailers():
        if backend in (QUEUED, DIRECT):
            try:
                account.named(alias)
            except ImproperlyConfigured as error:
                # No error: who only takes events needs no key.
                yield checks.Warning(str(error), hint="Until then send() raises.", id="sending_app.W001")


def _check_encoders() -> Iterable[CheckMessage]:
    try:
        addresses.encoder(conf.SENDGRID_IDNA_ENCODER.get() or conf.IDNA_ENCODER.get())
    except ImproperlyConfigured as error:
        yield Error(str(error), id="sending_app.E001")


def _check_defaults() -> Iterable[CheckMessage]:
    for setting in (conf.SEND_DEFAULTS, conf.SENDGRID_SEND_DEFAULTS):
        for name in sorted(setting.get().keys() - KNOWN):
            near = get_close_matches(name, KNOWN, n=1)
            yield checks.Warning(
                f"{setting.name} has {name!r}, which is no attribute of a message.",
                hint=f"Did you mean {near[0]!r}?" if near else "It has no effect.",
                id="sending_app.W002",
            )


def _check_wait() -> Iterable[CheckMessage]:
    wait = conf.UNKNOWN_WAIT.get()
    if wait < SHORTEST_WAIT and QUEUED in dict(_mailers()).values():
        yield checks.Warning(
            f"SEND_UNKNOWN_WAIT is {wait} seconds, and SendGrid gathers events for 30 seconds or more before "
            "it posts them: a mail that SendGrid has taken could be sent again.",
            hint=f"Set it to {SHORTEST_WAIT} or more; the default is {conf.UNKNOWN_WAIT.default}.",
            id="sending_app.W003",
        )


def _check_eager() -> Iterable[CheckMessage]:
    if current_app.conf.task_always_eager:
        yield Error(
            "task_always_eager is on: send() would wait for SendGrid.",
            hint="Turn it off and run a worker, or use the direct backend.",
            id="sending_app.E002",
        )


def _check_queues() -> Iterable[CheckMessage]:
    declared = current_app.conf.task_queues
    if not declared or current_app.conf.task_create_missing_queues:
        return
    names = {getattr(queue, "name", queue) for queue in declared}
    missing = [name for name in (tasks.MAIL, tasks.BULK) if name not in names]
    if missing:
        yield Error(
            f"The Celery app declares its queues and makes no missing ones, and {', '.join(missing)} "
            "is not among them: no mail would ever be sent.",
            hint="Add them to task_queues, or turn task_create_missing_queues on.",
            id="sending_app.E003",
        )
