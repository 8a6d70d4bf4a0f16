"""The facts about the stream in Redis, and about beat."""

from collections.abc import Iterator

from events_app import stream, tasks
from events_app.conf import BACKLOG_LIMIT
from events_app.shared.console.terminal import span
from events_app.shared.facts import REDIS, Depth, Level, Reading, declare, source

BACKLOG = declare("backlog_events", "Events that wait in Redis to be stored")
OLDEST = declare(
    "backlog_oldest_seconds", "Age of the oldest event that waits in Redis to be stored, 0 without one"
)
BEAT = declare("beat_tick_age_seconds", "Seconds since the last tick of beat")

#: Seconds of waiting after which an event, an inbound mail or a due mail is late: workers look every few
#: seconds.
LATE = 60


@source(Depth.READINESS, REDIS)
def read_backlog() -> Iterator[Reading]:
    """Count the waiting events, and say when the webhook refuses more."""
    events, limit = stream.backlog(), BACKLOG_LIMIT.get()
    text = f"Waiting in Redis, to be stored: {events}"
    if events < limit:
        yield BACKLOG.read(events, text=text)
        return
    advice = (
        f"The webhook answers 503 above {limit} events. Start more workers with the queue {tasks.EVENTS}, or "
        f"raise {BACKLOG_LIMIT.name} if Redis has the memory."
    )
    yield BACKLOG.read(events, level=Level.ERROR, text=f"{text}.", advice=advice)


@source(Depth.READINESS, REDIS)
def read_beat() -> Iterator[Reading]:
    """Say when beat is silent."""
    seconds = tasks.since_beat()
    if seconds is None:
        text = "No tick of beat's has ever come: no worker and no beat has run with this Redis."
        advice = "Start both, and put events.tick into the schedule of beat."
        yield BEAT.read(None, level=Level.WARNING, text=text, advice=advice)
        return
    text = f"The last tick of beat's came {span(seconds)} ago."
    if seconds <= tasks.LATE:
        yield BEAT.read(seconds, text=text)
        return
    advice = "Is it running, with events.tick in its schedule, and a worker?"
    yield BEAT.read(seconds, level=Level.WARNING, text=text, advice=advice)


@source(Depth.FIGURES, REDIS)
def read_oldest() -> Iterator[Reading]:
    """Say when the oldest event has waited for too long."""
    now, received_at = stream.oldest()
    seconds = max(0, round((now - received_at).total_seconds())) if received_at else 0
    if seconds <= LATE:
        yield OLDEST.read(seconds)
        return
    yield OLDEST.read(
        seconds,
        level=Level.WARNING,
        text=f"The oldest event in Redis has waited for {span(seconds)}.",
        advice=f"Does a worker run, with the queue {tasks.EVENTS}, and does the database answer?",
    )
