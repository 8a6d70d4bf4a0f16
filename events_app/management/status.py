"""The state of the pipeline on one page, from the facts: backlog, deliveries, failed receivers, counters."""

from collections.abc import Iterator
from typing import Any

from redis import RedisError

from events_app.dispatch.kinds import EVENTS, Kind
from events_app.inbound.store import INBOUND_MAILS
from events_app.monitoring import backlog, deliveries, duplicates
from events_app.shared import counters
from events_app.shared.console.terminal import section, span
from events_app.shared.facts import ANSWERS, REDIS, Depth, Level, Readings, gather
from events_app.shared.heartbeats import WORKERS

#: Seconds that a source has to read its facts. The count of a large table may take some.
PATIENCE = 30.0


def gather_pipeline() -> Readings:
    return Readings(gather(Depth.FIGURES, package="events_app", seconds=PATIENCE))


def pipeline_as_json(readings: Readings) -> dict[str, Any]:
    """The figures; None for the figures of a server without an answer."""
    figures = {
        "waiting_in_redis": readings.value(backlog.BACKLOG),
        "seconds_waiting_in_redis": readings.value(backlog.OLDEST),
        "seconds_since_beat": readings.value(backlog.BEAT),
        "workers": {queue: reading.value for (queue,), reading in readings.of(WORKERS).items()} or None,
        "pending": _states(readings, EVENTS),
        "failed_receivers": _failed_receivers(readings, EVENTS),
        "counters": _counters(readings),
    }
    if inbound := _states(readings, INBOUND_MAILS):
        figures["inbound"] = {
            "pending": inbound,
            "failed_receivers": _failed_receivers(readings, INBOUND_MAILS),
            "seconds_waiting": readings.value(deliveries.OLDEST, INBOUND_MAILS.command),
        }
    return figures


def _states(readings: Readings, kind: Kind) -> dict[str, Any] | None:
    """The deliveries of a kind by state; None without the database, or without rows of the kind."""
    name = kind.command
    if not readings.of(deliveries.DELIVERIES).get((name, "pending")):
        return None
    return {
        "pending": readings.value(deliveries.DELIVERIES, name, "pending"),
        "pending_in_progress": readings.value(deliveries.IN_PROGRESS, name, "pending"),
        "retrying": readings.value(deliveries.DELIVERIES, name, "retrying"),
        "retrying_in_progress": readings.value(deliveries.IN_PROGRESS, name, "retrying"),
        "due_now": readings.value(deliveries.DUE, name),
        "to_recover": readings.value(deliveries.TO_RECOVER, name),
        "dead": readings.value(deliveries.DELIVERIES, name, "dead"),
        "seconds_to_next": readings.value(deliveries.NEXT_DUE, name),
    }


def _failed_receivers(readings: Readings, kind: Kind) -> dict[str, dict[str, Any]] | None:
    if not _states(readings, kind):
        return None
    receivers: dict[str, dict[str, Any]] = {}
    for (name, receiver, state), reading in readings.of(deliveries.FAILED).items():
        if name == kind.command:
            receivers.setdefault(receiver, {"retrying": 0, "dead": 0})[state] = reading.value
    return receivers


def _counters(readings: Readings) -> dict[str, int] | None:
    try:
        return counters.read_counters() if readings.value(ANSWERS, REDIS.name) else None
    except RedisError:
        return None


def pipeline_page(readings: Readings) -> Iterator[str]:
    """The figures as text, without those of a server that did not answer."""
    yield from readings.lines(backlog.BACKLOG, backlog.OLDEST, backlog.BEAT)
    yield from readings.lines(WORKERS, least=Level.ADVICE)
    for nouns, kind in (("events", EVENTS), ("inbound mails", INBOUND_MAILS)):
        if counts := _states(readings, kind):
            yield from _table(nouns, counts)
            oldest = readings.of(deliveries.OLDEST)[(kind.command,)]
            if oldest.text:
                yield oldest.line()
            failed = (_failed_receivers(readings, kind) or {}).items()
            rows = [(name, states["retrying"], states["dead"]) for name, states in failed]
            yield from section(("failed receiver", "retrying", "dead"), rows)
    if counts := _counters(readings):
        counted = [(name, count, counters.meaning(name)) for name, count in counts.items()]
        yield from section(("counted so far", "", ""), counted)
    yield from readings.lines(duplicates.DEDUPLICATION)


def _table(nouns: str, counts: dict[str, Any]) -> Iterator[str]:
    pending, retrying, dead = counts["pending"], counts["retrying"], counts["dead"]
    next_due = counts["seconds_to_next"]
    details = {
        f"{counts['retrying_in_progress']} in a worker's hands": counts["retrying_in_progress"],
        f"{counts['due_now']} due now": retrying,
        f"the next in {span(next_due or 0)}": next_due is not None,
    }
    rows = [
        ("pending", pending, f"{counts['pending_in_progress']} in a worker's hands" if pending else ""),
        ("retrying", retrying, ", ".join(detail for detail, holds in details.items() if holds)),
        ("dead", dead, "dead letters" if dead else ""),
    ]
    yield from section(("state", nouns, ""), rows)
    if counts["to_recover"]:
        yield f"Being taken up one at a time, as their worker died or by hand: {counts['to_recover']}"
