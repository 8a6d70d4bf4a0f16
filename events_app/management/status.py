"""The state of the pipeline on one page: backlog, pending deliveries, failed receivers and counters."""

from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Min, Q
from redis import RedisError

from events_app import sql, stream, tasks
from events_app.conf import DEDUPE_BY
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import ORPHANED, events_database, pending_rows
from events_app.inbound.filters import mails
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import RELEASED, AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.console.terminal import section, span
from events_app.shared.database import database_now
from events_app.tasks import INBOUND

_FREE = Q(lease=None) | Q(lease=ORPHANED)
_TRIED = Q(failures__gt=0) | Q(replay=True)
_PENDING = Q(state=AbstractPendingDelivery.State.PENDING)

#: An inbound mail that waits longer (in seconds) is worth a warning: workers look every few seconds.
LATE = 60


def gather_pipeline() -> tuple[dict[str, Any], list[str]]:
    """The figures, and an error for each server that did not answer."""
    errors: dict[str, str] = {}

    def ask(server: str, question: Callable[[], Any]) -> Any:
        if server not in errors:  # a second question would only wait as long again
            try:
                return question()
            except (RedisError, DatabaseError, InterfaceError, ImproperlyConfigured) as error:
                message = f"{server} cannot be asked: {type(error).__name__}: {error}"
                errors[server] = message.partition("\n")[0]
        return None

    figures = {
        "waiting_in_redis": ask("Redis", stream.backlog),
        "seconds_since_beat": ask("Redis", tasks.since_beat),
        "pending": ask("The database", lambda: _pending(EVENTS)),
        "failed_receivers": ask("The database", lambda: _failed_receivers(EVENTS)),
        "counters": ask("Redis", counters.read_counters),
    }
    if inbound := ask("The database", _inbound):
        figures["inbound"] = inbound
    return figures, list(errors.values())


def _inbound() -> dict[str, Any] | None:
    """The figures of inbound mails; None in a project without them."""
    if not mails().exists():
        return None
    oldest = pending_rows(INBOUND_MAILS).filter(_PENDING, RELEASED).order_by("due").first()
    return {
        "pending": _pending(INBOUND_MAILS),
        "failed_receivers": _failed_receivers(INBOUND_MAILS),
        "seconds_waiting": oldest and round((_now() - oldest.due).total_seconds()),
    }


def _now() -> Any:
    return database_now(events_database())


def _pending(kind: Kind) -> dict[str, Any]:
    now = _now()
    pending, retrying, in_progress = _PENDING & ~_TRIED, _PENDING & _TRIED, ~_FREE & Q(due__gt=now)
    figures = pending_rows(kind).aggregate(
        pending=Count("pk", filter=pending),
        pending_in_progress=Count("pk", filter=pending & in_progress),
        retrying=Count("pk", filter=retrying),
        retrying_in_progress=Count("pk", filter=retrying & in_progress),
        due_now=Count("pk", filter=retrying & _FREE & Q(due__lte=now)),
        next_due=Min("due", filter=retrying & _FREE & Q(due__gt=now)),
        to_recover=Count("pk", filter=_PENDING & Q(lease__isnull=False, due__lte=now)),
        dead=Count("pk", filter=Q(state=AbstractPendingDelivery.State.DEAD_LETTER)),
    )
    next_due = figures.pop("next_due")
    return {**figures, "seconds_to_next": next_due and round((next_due - now).total_seconds())}


def _failed_receivers(kind: Kind) -> dict[str, dict[str, int]]:
    counts = sql.count_failed_receivers(kind.pending_model, events_database())
    receivers = {name: {"retrying": 0, "dead": 0} for name, _ in sorted(counts)}
    for (name, state), count in counts.items():
        receivers[name]["dead" if state == PendingDelivery.State.DEAD_LETTER else "retrying"] = count
    return receivers


def pipeline_page(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as text, without those of a server that did not answer."""
    if figures["waiting_in_redis"] is not None:
        yield f"Waiting in Redis, to be stored: {figures['waiting_in_redis']}"
        seconds = figures["seconds_since_beat"]
        last_tick = f"The last tick of beat's came {span(seconds or 0)} ago"
        if seconds is None:
            yield "WARNING: no tick of beat's has ever come: no worker and no beat has run with this Redis."
        elif seconds > tasks.LATE:
            yield f"WARNING: {last_tick}. Is it running, with events.tick in its schedule, and a worker?"
        else:
            yield f"{last_tick}."
    if figures["pending"] is not None:
        yield from _states("events", figures["pending"])
        yield from _failed(figures["failed_receivers"] or {})
    if inbound := figures.get("inbound"):
        yield from _states("inbound mails", inbound["pending"])
        if (inbound["seconds_waiting"] or 0) > LATE:
            since = span(inbound["seconds_waiting"])
            yield f"WARNING: The first has waited for {since}. Does a worker run, with the queue {INBOUND}?"
        yield from _failed(inbound["failed_receivers"])
    if figures["counters"]:
        counted = [(name, count, counters.meaning(name)) for name, count in figures["counters"].items()]
        yield from section(("counted so far", "", ""), counted)
        yield from _advice(figures["counters"])


def _advice(counts: dict[str, int]) -> Iterator[str]:
    """Say when `DEDUPE_BY="content"` would find duplicates better than SendGrid's ids do."""
    if DEDUPE_BY.get() != "event_id":
        return
    if changed := counts.get(counters.ID_CHANGED):
        yield (
            f"ADVICE: SendGrid posted events again under another id ({changed} of a sample), and they were "
            'stored again. Set ANYMAIL["DEDUPE_BY"] to "content".'
        )
    if opened := counts.get(counters.ID_CHANGED_OPENED):
        yield (
            f"NOTE: {opened} opens and clicks of a sample differ from another one in the id alone: one under "
            'another id, or two within a second. With DEDUPE_BY = "content" both are stored as one.'
        )
    if reused := counts.get(counters.ID_REUSED):
        yield (
            f"WARNING: {reused} events of a sample had the id of a different event. They were taken for "
            'duplicates and are lost. Set ANYMAIL["DEDUPE_BY"] to "content", which keeps both.'
        )


def _states(nouns: str, counts: dict[str, Any]) -> Iterator[str]:
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


def _failed(receivers: dict[str, dict[str, int]]) -> Iterator[str]:
    rows = [(name, counts["retrying"], counts["dead"]) for name, counts in receivers.items()]
    yield from section(("failed receiver", "retrying", "dead"), rows)
