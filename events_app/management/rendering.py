"""Stored events as text for a terminal, and as JSON for a pipe."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from typing import Any

from events_app.decode import Unreadable
from events_app.management.terminal import Table, fields, indented, printable
from events_app.models import Event, Work
from events_app.normalize import read
from events_app.search import state_of, work_of

_HEADER = ("id", "received (UTC)", "type", "state", "tries", "recipient", "why")
_TRIES = 4


def table(width: int | None) -> Table:
    return Table(_HEADER, frozenset({_TRIES}), width)


def cells(event: Event) -> tuple[str, ...]:
    """The event's row in a table."""
    work = work_of(event)
    return (
        str(event.pk),
        f"{event.received_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        event.event_type,
        state_of(work),
        str(work.failures + work.lapses) if work else "",
        printable(event.recipient),
        why(work) if work else "",
    )


def why(work: Work) -> str:
    """In one line: which receivers failed and with what, or else why the event stands where it does."""
    failed = [f"{name}: {last_words(work.receivers[name])}" for name in failed_receivers(work)]
    replay = "replay" if work.replay else ""
    return printable(" | ".join(failed) or work.error or replay).replace("\n", " ")


def failed_receivers(work: Work) -> list[str]:
    """Those whose last call failed; others may be owed the event as well."""
    return sorted(name for name, error in work.receivers.items() if error)


def last_words(error: str) -> str:
    """The error itself out of a traceback, without what follows in further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]


def as_json(event: Event) -> dict[str, Any]:
    """All there is in the columns, and the work."""
    work = work_of(event)
    columns = ("event_type", "event_id", "message_id", "recipient", "timestamp", "received_at", "door")
    of_work = ("failures", "lapses", "replay", "due", "receivers", "error")
    return {
        "id": event.pk,
        **{name: getattr(event, name) for name in columns},
        "state": state_of(work),
        "work": work and {name: getattr(work, name) for name in of_work},
    }


def in_full_as_json(event: Event) -> dict[str, Any]:
    """The same, with the event as it came, and as it is read today."""
    _, found, unreadable = _read(event)
    raw = bytes(event.raw).decode("utf-8", "backslashreplace")
    return {**as_json(event), "event": found, "unreadable": unreadable, "raw": raw}


def _read(event: Event) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """The object as posted, the normalized event, and why it is none."""
    try:
        raw, found = read(bytes(event.raw))
    except Unreadable as error:
        return {}, None, str(error)
    return raw, {name: value for name, value in asdict(found).items() if name != "esp_event"}, ""


def page(event: Event) -> Iterator[str]:
    """Everything there is of one event."""
    work = work_of(event)
    raw, found, unreadable = _read(event)
    yield f"Event {event.pk}"
    yield from fields(
        {
            "state": state_of(work),
            **(_of_work(work) if work else {}),
            "received": event.received_at,
            "door": event.door,
        }
    )
    yield "\nAs it is read today"
    yield from fields({"unreadable": unreadable} if found is None else found)
    for name in failed_receivers(work) if work else ():
        yield f"\nReceiver {printable(name)}"
        yield from indented(work.receivers[name] if work else "")
    yield "\nAs SendGrid posted it"
    posted = bytes(event.raw).decode("utf-8", "backslashreplace")
    yield from indented(posted if found is None else json.dumps(raw, indent=2, ensure_ascii=False))


def _of_work(work: Work) -> dict[str, object]:
    waiting = sorted(work.receivers.keys() - failed_receivers(work))
    return {
        "reason": work.error,
        "failed tries": work.failures,
        "died workers": work.lapses,
        "replay": "yes" if work.replay else "",
        "due": work.due if work.state == Work.State.OWED else "",
        "failed": ", ".join(failed_receivers(work)),
        "not reached": ", ".join(waiting),
        "owed to": "" if work.receivers else "all receivers",
    }
