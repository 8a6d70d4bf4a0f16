"""The results of Django's system checks, those for a deployment included, as facts."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import messages as levels
from django.core.checks.registry import registry
from django.db import DatabaseError, InterfaceError, connections

from events_app.shared.facts import Depth, FactKind, Level, Reading, declare, source

#: The tag of checks whose results are facts too. The doctor does not run them: it has the facts.
ALSO_FACTS = "sendgrid_servers"

CHECK = declare("system_check", "The message of a system check", FactKind.TEXT, ("id",))


@source(Depth.EXAMINATION)
def read_checks() -> Iterator[Reading]:
    """The messages of all checks, without the silenced ones, the worst first."""
    aliases = list(connections)
    found: list[Reading] = []
    for check in registry.get_checks(include_deployment_checks=True):
        if ALSO_FACTS not in check.tags:
            found += _run(check, aliases)
    if not found:
        yield CHECK.read("", "", text="Django's system checks for a deployment find nothing wrong.")
    yield from sorted(found, key=lambda reading: (-reading.level, reading.labels))


def _run(check: Any, aliases: list[str]) -> Iterable[Reading]:
    try:
        messages: Iterable[CheckMessage] = check(app_configs=None, databases=aliases)
        return [_reading(message) for message in messages if not message.is_silenced()]
    except (DatabaseError, InterfaceError):
        return []  # another source reports that the database does not answer
    except Exception as error:  # noqa: BLE001 (a broken check must not hide the others)
        name = f"{check.__module__}.{check.__qualname__}"
        text = f"The system check {name} ended with {type(error).__name__}."
        advice = "Run `manage.py check --deploy --traceback`, which shows where."
        return [CHECK.read(text, name, level=Level.ERROR, text=text, advice=advice)]


def _reading(message: CheckMessage) -> Reading:
    about = "" if message.obj is None else f"{_name(message.obj)}: "
    sentence = " ".join(f"{about}{message.msg}".split())
    return CHECK.read(
        message.msg,
        message.id or "",
        level=_level(message.level),
        text=f"{sentence} ({message.id})" if message.id else sentence,
        advice=" ".join(str(message.hint or "").split()),
    )


def _name(thing: Any) -> str:
    meta = getattr(thing, "_meta", None)
    return str(getattr(meta, "label", thing))


def _level(level: int) -> Level:
    if level >= levels.ERROR:
        return Level.ERROR
    if level >= levels.WARNING:
        return Level.WARNING
    return Level.ADVICE if level >= levels.INFO else Level.OK
