"""What is going on, on one page."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections, router
from django.db.models import Count, Min, Q
from redis import RedisError

from events_app import stream, tasks
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import ORPHANED, pending_rows
from events_app.inbound.filters import mails
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import RELEASED, AbstractPendingDelivery, PendingDelivery
from events_app.shared import counters
from events_app.shared.console.terminal import columns, span
from events_app.shared.database import database_now
from events_app.tasks import INBOUND

T = TypeVar("T")

_FREE = Q(lease=None) | Q(lease=ORPHANED)
_TRIED = Q(failures__gt=0) | Q(replay=True)
_PENDING, _DEAD_LETTERS = (
    Q(state=AbstractPendingDelivery.State.PENDING),
    Q(state=AbstractPendingDelivery.State.DEAD_LETTER),
)

#: Seconds an inbound mail waits for a worker before that is worth a warning: one looks each few seconds.
LATE = 60

# Counted where it is: a million tracebacks are not for carrying over. Receivers that are
# pending and have not failed bear no traceback.
_BY_RECEIVER = """
SELECT receiver.key, state, count(*) FROM {table}, {each}(receivers) AS receiver
WHERE receiver.value <> '' GROUP BY receiver.key, state
"""
_EACH = {"postgresql": "jsonb_each_text", "sqlite": "json_each"}


def gather() -> tuple[dict[str, Any], list[str]]:
    """All there is to say, and who could not be asked."""
    away: list[str] = []
    found = {
        "waiting_in_redis": _ask("Redis", stream.backlog, away),
        "seconds_since_beat": _ask("Redis", tasks.since_beat, away),
        "pending": _ask("The database", partial(_pending, EVENTS), away),
        "failed_receivers": _ask("The database", partial(_failed_receivers, EVENTS), away),
        "counters": _ask("Redis", counters.read, away),
    }
    if inbound := _ask("The database", _inbound, away):
        found["inbound"] = inbound
    return found, list(dict.fromkeys(away))


def _ask(whom: str, question: Callable[[], T], away: list[str]) -> T | None:
    if any(one.startswith(whom) for one in away):
        return None  # it would only take as long again
    try:
        return question()
    except (RedisError, DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        away.append(f"{whom} cannot be asked: {type(error).__name__}: {error}".partition("\n")[0])
        return None


def _inbound() -> dict[str, Any] | None:
    """The same of inbound mails; None where there are none."""
    if not mails().exists():
        return None
    return {
        "pending": _pending(INBOUND_MAILS),
        "failed_receivers": _failed_receivers(INBOUND_MAILS),
        "seconds_waiting": _seconds_waiting(INBOUND_MAILS),
    }


def _seconds_waiting(kind: Kind) -> int | None:
    """For how long the first of them has waited for a worker."""
    first = pending_rows(kind).filter(_PENDING, RELEASED).order_by("due").first()
    if first is None:
        return None
    return round((database_now(router.db_for_write(PendingDelivery)) - first.due).total_seconds())


def _pending(kind: Kind) -> dict[str, Any]:
    now = database_now(router.db_for_write(PendingDelivery))
    pending, retrying, in_progress = _PENDING & ~_TRIED, _PENDING & _TRIED, ~_FREE & Q(due__gt=now)
    found = pending_rows(kind).aggregate(
        pending=Count("pk", filter=pending),
        pending_in_progress=Count("pk", filter=pending & in_progress),
        retrying=Count("pk", filter=retrying),
        retrying_in_progress=Count("pk", filter=retrying & in_progress),
        due_now=Count("pk", filter=retrying & _FREE & Q(due__lte=now)),
        next_due=Min("due", filter=retrying & _FREE & Q(due__gt=now)),
        to_recover=Count("pk", filter=_PENDING & Q(lease__isnull=False, due__lte=now)),
        dead=Count("pk", filter=_DEAD_LETTERS),
    )
    next_due = found.pop("next_due")
    return {**found, "seconds_to_next": next_due and round((next_due - now).total_seconds())}


def _failed_receivers(kind: Kind) -> dict[str, dict[str, int]]:
    connection = connections[router.db_for_write(PendingDelivery)]
    with connection.cursor() as cursor:
        table = kind.pending_model._meta.db_table
        cursor.execute(_BY_RECEIVER.format(table=table, each=_EACH[connection.vendor]))
        counts = cursor.fetchall()
    found = {name: {"retrying": 0, "dead": 0} for name in sorted({name for name, _, _ in counts})}
    for name, state, count in counts:
        found[name]["dead" if state == PendingDelivery.State.DEAD_LETTER else "retrying"] = count
    return found


def page(found: dict[str, Any]) -> Iterator[str]:
    """The same for people; what could not be asked is left out."""
    if found["waiting_in_redis"] is not None:
        yield f"Waiting in Redis, to be stored: {found['waiting_in_redis']}"
        yield _beat(found["seconds_since_beat"])
    if found["pending"] is not None:
        yield from _pending_table("events", found["pending"])
    yield from _failed_table(found["failed_receivers"] or {})
    if inbound := found.get("inbound"):
        yield from _pending_table("inbound mails", inbound["pending"])
        if (inbound["seconds_waiting"] or 0) > LATE:
            since = span(inbound["seconds_waiting"])
            yield f"WARNING: The first has waited for {since}. Does a worker run, with the queue {INBOUND}?"
        yield from _failed_table(inbound["failed_receivers"])
    if found["counters"]:
        counted = found["counters"].items()
        yield ""
        yield from columns(
            ("counted so far", "", ""), [(name, count, counters.meaning(name)) for name, count in counted]
        )


def _beat(seconds: int | None) -> str:
    if seconds is None:
        return "WARNING: no tick of beat's has ever come: no worker and no beat has run with this Redis."
    last_tick = f"The last tick of beat's came {span(seconds)} ago"
    if seconds > tasks.LATE:
        return f"WARNING: {last_tick}. Is it running, with events.tick in its schedule, and a worker?"
    return f"{last_tick}."


def _pending_table(what: str, counts: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield from columns(("state", what, ""), _states(counts))
    if counts["to_recover"]:
        yield f"Being taken up one at a time, as their worker died or by hand: {counts['to_recover']}"


def _failed_table(receivers: dict[str, dict[str, int]]) -> Iterator[str]:
    if receivers:
        yield ""
        yield from columns(
            ("failed receiver", "retrying", "dead"),
            [(name, counts["retrying"], counts["dead"]) for name, counts in receivers.items()],
        )


def _states(counts: dict[str, Any]) -> list[tuple[str | int, ...]]:
    next_due = counts["seconds_to_next"]
    retrying = {
        f"{counts['retrying_in_progress']} in a worker's hands": counts["retrying_in_progress"],
        f"{counts['due_now']} due now": counts["retrying"],
        f"the next in {span(next_due or 0)}": next_due is not None,
    }
    return [
        (
            "pending",
            counts["pending"],
            f"{counts['pending_in_progress']} in a worker's hands" if counts["pending"] else "",
        ),
        ("retrying", counts["retrying"], ", ".join(words for words, said in retrying.items() if said)),
        ("dead", counts["dead"], "given up" if counts["dead"] else ""),
    ]
