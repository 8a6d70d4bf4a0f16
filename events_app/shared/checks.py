"""What the system checks of both apps share."""

import warnings
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from celery import current_app
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from events_app.shared.setting import Setting, anymail, faults


def unusable(settings: Iterable[Setting[Any]], id: str) -> list[CheckMessage]:
    """An error for each fault of the settings' values."""
    return [Error(fault, id=id) for fault in faults(settings)]


def not_chosen(retention: Setting[int | None], rows: str, id: str) -> list[CheckMessage]:
    """A warning for a retention that the project has not set: the default removes its rows."""
    if faults([retention]) or retention.is_set():  # the checks of values report faults
        return []
    return [
        checks.Warning(
            f"{retention.name} is not set: {rows} are removed after {retention.default} days.",
            hint=f"Set {retention.places()[0]} to the days for which you need them. 0 keeps them for ever.",
            id=id,
        )
    ]


def names_in_anymail() -> set[str]:
    """The names of settings in `ANYMAIL`. None if it is not a dict, which `unusable` reports."""
    try:
        return set(map(str, anymail()))
    except ImproperlyConfigured:
        return set()


def hint(name: str, known: Collection[str]) -> str:
    """Suggest the known name that is most like the unknown one."""
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else "It has no effect."


def missing_queues(needed: Iterable[str]) -> list[str]:
    """The queues that the Celery app neither declares nor creates."""
    declared = current_app.conf.task_queues
    if not declared or current_app.conf.task_create_missing_queues:
        return []
    return sorted(set(needed) - {getattr(queue, "name", queue) for queue in declared})


def mail_backends() -> dict[str, str]:
    """The path of each mailer's backend by its alias. Without `MAILERS`, that of "default"."""
    if hasattr(django_settings, "MAILERS"):
        return {alias: mailer.get("BACKEND", "") for alias, mailer in django_settings.MAILERS.items()}
    with warnings.catch_warnings():
        # Django 6.1 warns at each read. The project gets that warning from Django.
        warnings.filterwarnings("ignore", "The EMAIL_BACKEND setting is deprecated")
        return {"default": django_settings.EMAIL_BACKEND}
