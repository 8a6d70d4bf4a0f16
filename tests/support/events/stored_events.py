"""Stream entries and stored events for a test to begin with."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from events_app import sql
from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import Event, NewEvent, PendingDelivery
from events_app.shared.database import database_now
from events_app.stream import Entry

#: 2026-07-14T12:00:00Z, as Redis writes it.
ENTRY_TIME = 1_784_030_400_000


def stream_entries(*events: Any) -> list[Entry]:
    """Entries as the stream returns them; bytes are put in unchanged."""
    return [
        Entry(
            b"%d-%d" % (ENTRY_TIME, n),
            "tracking",
            [one if isinstance(one, bytes) else json.dumps(one).encode()],
        )
        for n, one in enumerate(events)
    ]


def open_event(event_id: str, **fields: object) -> dict[str, Any]:
    return {"event": "open", "email": "mira.okafor@example.net", "sg_event_id": event_id, **fields}


NOON = datetime(2026, 7, 14, 12, 0, 0, 123456, UTC)


def new_event(number: int, **fields: Any) -> NewEvent:
    values: dict[str, Any] = {
        "key": number.to_bytes(16),
        "event_type": "opened",
        "event_id": f"id-{number}",
        "message_id": "0c5c1a52",
        "recipient": "mira.okafor@example.net",
        "timestamp": NOON,
        "received_at": NOON,
        "webhook": "tracking",
        "raw": b'{"event": "open"}',
    }
    return NewEvent(**values | fields)


def store_aged(database: str, *days: float) -> list[int]:
    """Store an event for each age in days, in that order; return the ids."""
    now, first = database_now(database), Event.objects.count()
    return [
        pk
        for number, age in enumerate(days, first)
        for pk in sql.insert_new_events(
            [new_event(number, received_at=now - timedelta(days=age))], database
        ).values()
    ]


def stored_pks() -> list[int]:
    return list(Event.objects.order_by("pk").values_list("pk", flat=True))


def store_done(*events: dict[str, Any]) -> list[int]:
    """Store these events with no pending delivery; return their ids."""
    lease = Lease()
    store.store(stream_entries(*events), lease)
    PendingDelivery.objects.filter(lease=lease.token).delete()
    pks = dict(Event.objects.values_list("event_id", "pk"))
    return [pks[event["sg_event_id"]] for event in events]


def add_pending(pk: int, **fields: Any) -> PendingDelivery:
    """A pending delivery of a stored event."""
    using = Event.objects.db
    return PendingDelivery.objects.create(event_id=pk, **{"due": database_now(using), **fields})
