"""The facts about pending deliveries to receivers, and about dead letters."""

from collections.abc import Iterator

from django.db import connections
from django.db.models import Count, Min, Q

from events_app import sql
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import ORPHANED, events_database, pending_rows
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import PENDING, RELEASED, AbstractPendingDelivery, InboundMail
from events_app.monitoring.backlog import LATE
from events_app.shared.console.terminal import counted, span
from events_app.shared.database import database_now
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source
from events_app.tasks import EVENTS as EVENTS_QUEUE
from events_app.tasks import INBOUND

#: The label `kind` is the name of the management command: "events" or "inbound".
DELIVERIES = declare(
    "deliveries", "Deliveries to receivers that are not done, and dead letters", labels=("kind", "state")
)
IN_PROGRESS = declare("deliveries_in_progress", "Deliveries that a worker has", labels=("kind", "state"))
DUE = declare("deliveries_due", "Deliveries that are due for a retry", labels=("kind",))
NEXT_DUE = declare("deliveries_next_due_seconds", "Seconds until the next retry is due", labels=("kind",))
TO_RECOVER = declare("deliveries_to_recover", "Deliveries that have lost their worker", labels=("kind",))
OLDEST = declare(
    "deliveries_oldest_seconds",
    "Seconds that the oldest delivery without a worker has waited for its first attempt, 0 without one",
    labels=("kind",),
)
FAILED = declare(
    "failed_deliveries",
    "Deliveries and dead letters in which the receiver has failed",
    labels=("kind", "receiver", "state"),
)

_FREE = Q(lease=None) | Q(lease=ORPHANED)
_TRIED = Q(failures__gt=0) | Q(replay=True)

# The order of the index for first attempts, by kind.
_FIRST = {EVENTS.command: "pk", INBOUND_MAILS.command: "due"}


@source(Depth.READINESS, DATABASE)
def ask_database() -> Iterator[Reading]:
    """Ask the database for its clock."""
    connections[events_database()].ensure_connection()
    database_now(events_database())
    return iter(())


@source(Depth.FIGURES, DATABASE)
def read_deliveries() -> Iterator[Reading]:
    """Count the deliveries by state. Inbound mails are left out if no inbound mail is stored."""
    for kind in (EVENTS, INBOUND_MAILS):
        if kind is EVENTS or InboundMail.objects.exists():
            yield from _counts(kind)
            yield from _oldest(kind)
            yield from _failed_receivers(kind)


def _counts(kind: Kind) -> Iterator[Reading]:
    now = database_now(events_database())
    pending, retrying, in_progress = PENDING & ~_TRIED, PENDING & _TRIED, ~_FREE & Q(due__gt=now)
    figures = pending_rows(kind).aggregate(
        pending=Count("pk", filter=pending),
        pending_in_progress=Count("pk", filter=pending & in_progress),
        retrying=Count("pk", filter=retrying),
        retrying_in_progress=Count("pk", filter=retrying & in_progress),
        due_now=Count("pk", filter=retrying & _FREE & Q(due__lte=now)),
        next_due=Min("due", filter=retrying & _FREE & Q(due__gt=now)),
        to_recover=Count("pk", filter=PENDING & Q(lease__isnull=False, due__lte=now)),
        dead=Count("pk", filter=Q(state=AbstractPendingDelivery.State.DEAD_LETTER)),
    )
    name = kind.command
    for state in ("pending", "retrying"):
        yield DELIVERIES.read(figures[state], name, state, page=_page(kind, state))
        yield IN_PROGRESS.read(figures[f"{state}_in_progress"], name, state)
    yield _dead_letters(kind, figures["dead"])
    next_due = figures["next_due"]
    yield DUE.read(figures["due_now"], name)
    yield NEXT_DUE.read(next_due and round((next_due - now).total_seconds()), name)
    yield TO_RECOVER.read(figures["to_recover"], name)


def _dead_letters(kind: Kind, count: int) -> Reading:
    name = kind.command
    if not count:
        return DELIVERIES.read(0, name, "dead")
    return DELIVERIES.read(
        count,
        *(name, "dead"),
        level=Level.WARNING,
        text=f"{counted(count, 'dead letter')} of {kind.noun}s: receivers that failed too often.",
        advice=f"See why: manage.py {name} list --state dead. After the mend: manage.py {name} retry "
        "--state dead.",
        page=_page(kind, "dead"),
    )


def _oldest(kind: Kind) -> Iterator[Reading]:
    rows = pending_rows(kind).filter(PENDING, RELEASED)
    oldest = rows.order_by(_FIRST[kind.command]).first()
    waits = round((database_now(events_database()) - oldest.due).total_seconds()) if oldest else 0
    if waits <= LATE:
        yield OLDEST.read(max(0, waits), kind.command)
        return
    queue = INBOUND if kind is INBOUND_MAILS else EVENTS_QUEUE
    yield OLDEST.read(
        waits,
        kind.command,
        level=Level.WARNING,
        text=f"The first {kind.noun} in the database has waited for {span(waits)}.",
        advice=f"Does a worker run, with the queue {queue}?",
        page=_page(kind, "pending"),
    )


def _page(kind: Kind, state: str) -> str:
    return f"admin:events_app_{kind.pending_model._meta.model_name}_changelist?state={state}"


def _failed_receivers(kind: Kind) -> Iterator[Reading]:
    counts = sql.count_failed_receivers(kind.pending_model, events_database())
    for (receiver, state), count in sorted(counts.items()):
        is_dead = state == AbstractPendingDelivery.State.DEAD_LETTER
        yield FAILED.read(count, kind.command, receiver, "dead" if is_dead else "retrying")
