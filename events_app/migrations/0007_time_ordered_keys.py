from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, migrations
from django.db.models import Q
from django.utils import timezone

#: Only the keys of these days change: SendGrid posts an event again for a day.
_DAYS = timedelta(days=7)

#: Rows of a statement.
_SLICE = 1000

#: Attempts to change a slice, as workers may insert the same keys meanwhile.
_ATTEMPTS = 5

_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)

# A key that another row has already stays as it is: the event has been stored twice.
_UPDATE = """
UPDATE events_app_event SET key = changed.column2 FROM (VALUES {rows}) AS changed
WHERE events_app_event.id = changed.column1
    AND NOT EXISTS (SELECT 1 FROM events_app_event AS other WHERE other.key = changed.column2)
"""


def lead_keys_by_time(apps: Any, schema_editor: Any) -> None:
    """Let the keys of the last days begin with the time of their event, as keys now do.

    Without this, an event that SendGrid posts again after the upgrade would be stored again. Older keys stay.
    A migration that was broken off can begin anew. An event that the database had refused has no time in its
    column: posted again, it becomes a second dead letter.
    """
    events = apps.get_model("events_app", "Event").objects.using(schema_editor.connection.alias)
    for pks in _slices(events):
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _change(events.filter(pk__in=pks), schema_editor)
                break
            except (IntegrityError, OperationalError):
                # A worker has inserted one of the keys, or the worker and the UPDATE wait for a lock of the other.
                if attempt == _ATTEMPTS:
                    raise


def _slices(events: Any) -> Iterator[list[int]]:
    """The ids of the events of the last days, newest first."""
    oldest = timezone.now() - _DAYS
    below = Q()
    while rows := list(events.filter(below).order_by("-pk").values_list("pk", "received_at")[:_SLICE]):
        recent = [pk for pk, received_at in rows if received_at >= oldest]
        if not recent:  # rows are nearly in the order of their arrival, which has no index
            return
        yield recent
        below = Q(pk__lt=rows[-1][0])


def _change(events: Any, schema_editor: Any) -> None:
    changes = {}
    for pk, key, timestamp, webhook in events.values_list("pk", "key", "timestamp", "webhook"):
        # An event of ours may come again at another time.
        first = _first_bytes(None if webhook == "own" else timestamp)
        if bytes(key[:4]) != first:
            changes[first + bytes(key[:12])] = pk
    # Sorted, as workers insert: otherwise both would wait for each other.
    parameters = [value for key, pk in sorted(changes.items()) for value in (pk, key)]
    if parameters:
        schema_editor.execute(_UPDATE.format(rows=", ".join(["(%s, %s)"] * len(changes))), parameters)


def _first_bytes(at: datetime | None) -> bytes:
    """As `decode.time_bytes` at the time of this migration."""
    seconds = (at - _EPOCH) // _SECOND if at else 0
    return seconds.to_bytes(4) if 0 <= seconds < 2**32 else bytes(4)


class Migration(migrations.Migration):
    # A statement is a transaction, so that workers never wait for long.
    atomic = False

    dependencies = [
        ('events_app', '0006_erased_persons'),
    ]

    operations = [
        migrations.RunPython(lead_keys_by_time, migrations.RunPython.noop),
    ]
