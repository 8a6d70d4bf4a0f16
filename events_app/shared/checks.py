"""What the system checks of both apps share."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from events_app.shared.setting import Setting


def unusable(settings: Iterable[Setting[Any]], id: str) -> list[CheckMessage]:
    """An error for each setting whose value cannot be used."""
    errors: list[CheckMessage] = []
    for setting in settings:
        try:
            setting.get()
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), id=id))
    return errors


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
