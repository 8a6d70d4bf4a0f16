"""Stored events as text for a terminal, and as JSON for a pipe."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from events_app.decode import Unreadable
from events_app.dispatch.filters import pending_of, state_of
from events_app.management import rendering
from events_app.models import Event
from events_app.normalize import read
from events_app.shared.console.terminal import Table, fields, indented, printable

_HEADER = ("id", "received (UTC)", "type", "state", "tries", "recipient", "why")
_TRIES = 4

#: What a dry run counts by.
GROUPS: Mapping[str, str] = {"type": "type", "state": "state", "receivers": "failed receivers"}


def table(width: int | None) -> Table:
    return Table(_HEADER, frozenset({_TRIES}), width)


def cells(event: Event) -> tuple[str, ...]:
    """The event's row in a table."""
    pending = pending_of(event)
    return (
        str(event.pk),
        rendering.minute(event.received_at),
        event.event_type,
        state_of(pending),
        rendering.tries(pending),
        printable(event.recipient),
        rendering.why(pending),
    )


def group(event: Event) -> tuple[str | tuple[str, ...], ...]:
    """Where a dry run counts it."""
    pending = pending_of(event)
    return event.event_type, state_of(pending).value, tuple(rendering.failed_receivers(pending))


def as_json(event: Event) -> dict[str, Any]:
    """All there is in the columns, and the pending delivery."""
    columns = ("event_type", "event_id", "message_id", "recipient", "timestamp", "received_at", "webhook")
    return {
        "id": event.pk,
        **{name: getattr(event, name) for name in columns},
        **rendering.as_json(event),
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
    raw, found, unreadable = _read(event)
    yield f"Event {event.pk}"
    yield from fields({**rendering.facts(event), "received": event.received_at, "webhook": event.webhook})
    yield "\nAs it is read today"
    yield from fields({"unreadable": unreadable} if found is None else found)
    yield from rendering.failures(event)
    yield "\nAs SendGrid posted it"
    posted = bytes(event.raw).decode("utf-8", "backslashreplace")
    yield from indented(posted if found is None else json.dumps(raw, indent=2, ensure_ascii=False))
