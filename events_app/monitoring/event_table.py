"""The facts about the table of events: how large it is, and whether old events are removed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Max, Min

from events_app import sql
from events_app.conf import RETENTION_DAYS
from events_app.dispatch.leases import events_database
from events_app.models import Event
from events_app.shared.database import database_now
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source

ROWS = declare("stored_events_about", "About how many events are stored, by the numbers of their rows")
BYTES = declare("stored_events_bytes", "The size of the table of events with its indexes; PostgreSQL only")
AGE = declare("oldest_stored_event_seconds", "The age of the oldest stored event")

#: Events without a retention that are worth an advice.
MANY = 1_000_000

#: Events may stay for this time after the end of their retention, in which workers may be away.
LATE = timedelta(days=2)


@source(Depth.EXAMINATION, DATABASE, "Database")
def read_event_table() -> Iterator[Reading]:
    """The facts about the table of events. None of the queries reads more than the ends of an index."""
    using = events_database()
    if Event._meta.db_table not in connections[using].introspection.table_names():
        return  # the facts about migrations say so
    numbers = Event.objects.aggregate(first=Min("pk"), last=Max("pk"))
    about = 0 if numbers["first"] is None else numbers["last"] - numbers["first"] + 1
    retention = RETENTION_DAYS.get()
    if retention is None and about > MANY:
        yield ROWS.read(
            about,
            level=Level.ADVICE,
            text=f"About {about:,} events are stored, and none is ever removed: {RETENTION_DAYS.name} is 0.",
            advice=f"Set {RETENTION_DAYS.name} to the days for which you need them. docs/capacity.md has the "
            "space that they take.",
        )
    else:
        yield ROWS.read(about, text=f"About {about:,} events are stored.")
    if connections[using].vendor == "postgresql":
        yield BYTES.read(sql.table_bytes(Event._meta.db_table, using))
    oldest = Event.objects.order_by("pk").values_list("received_at", flat=True).first()
    if oldest is not None:
        yield _age(database_now(using) - oldest, oldest, retention)


def _age(age: timedelta, oldest: datetime, retention: int | None) -> Reading:
    seconds = age.total_seconds()
    if retention is None or age <= timedelta(days=retention) + LATE:
        return AGE.read(seconds)
    return AGE.read(
        seconds,
        level=Level.WARNING,
        text=f"Old events are not removed: the oldest is of {oldest:%Y-%m-%d}, and {RETENTION_DAYS.name} is "
        f"{retention}.",
        advice="The task events.prune removes them each minute. Does beat run, and a worker with the queue "
        "sendgrid.retries?",
    )
