"""The facts about the mails in the outbox."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min, Q, QuerySet

from events_app.shared.console.terminal import counted, span
from events_app.shared.database import database_now
from events_app.shared.escaping import one_line
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source
from sending_app import account
from sending_app.models import Mail
from sending_app.monitoring.circuits import paused_accounts
from sending_app.outbox import using

State = Mail.State

#: States that are not final, failed and rejected. Accepted and cancelled mails are not counted: there may be
#: millions.
STATES = (State.WAITING, State.POSTING, State.UNKNOWN, State.PARKED, State.FAILED, State.REJECTED)

#: Seconds after which a due mail causes a warning. Workers look for due mails every few seconds.
LATE = 60

MAILS = declare(
    "mails", "Mails in the outbox that are not done, and failed and rejected mails", labels=("lane", "state")
)
DUE = declare("mails_due", "Waiting mails that are due", labels=("lane",))
OLDEST_DUE = declare(
    "mails_oldest_due_seconds",
    "Seconds since the oldest due mail became due, 0 without one",
    labels=("lane",),
)
NEXT_DUE = declare("mails_next_due_seconds", "Seconds until the next waiting mail is due", labels=("lane",))
NEXT_RECONCILED = declare(
    "mails_next_reconciled_seconds", "Seconds until the next mail of unknown outcome is decided"
)
REFUSED = declare("mails_refused", "Failed mails whose recipients SendGrid refuses")
SENT_TWICE = declare("mails_sent_twice", "Mails that SendGrid has accepted twice")
WITHOUT_ACCOUNT = declare(
    "mails_without_account", "Waiting mails for a mailer without an API key", labels=("mailer",)
)


@source(Depth.FIGURES, DATABASE)
def read_mails() -> Iterator[Reading]:
    """Count the mails by lane and state."""
    for lane in Mail.Lane:
        # One query a state, because every state has an index of its own.
        for state in STATES:
            count = _mails(state=state, lane=lane).count()
            if state == State.PARKED and count:
                yield MAILS.read(
                    count,
                    *(lane.value, state.value),
                    level=Level.WARNING,
                    text=f"{counted(count, 'mail')} parked in the {lane.value} lane: nobody knows whether "
                    f"SendGrid has the mail{'' if count == 1 else 's'}.",
                    advice="Look with manage.py outbox list --state parked, then decide with outbox settle.",
                    page=_page(state),
                )
            else:
                yield MAILS.read(count, lane.value, state.value, page=_page(state))
    yield REFUSED.read(_mails(refused=True, state=State.FAILED).count())
    yield SENT_TWICE.read(_mails(sent_twice=True).count())
    yield NEXT_RECONCILED.read(_seconds_to(_mails(state=State.UNKNOWN).aggregate(due=Min("due"))["due"]))


@source(Depth.FIGURES, DATABASE)
def read_waiting_mails() -> Iterator[Reading]:
    """Say which mails no worker posts, and why."""
    unserved = _without_account()
    for alias, count in unserved.items():
        yield WITHOUT_ACCOUNT.read(
            count,
            alias,
            level=Level.WARNING,
            text=f"{counted(count, 'mail')} for the mailer {one_line(alias)}, which has no API key.",
            advice="Give the mailer a key, or cancel the mails: manage.py outbox cancel --mailer ALIAS.",
            page=_page(State.WAITING),
        )
    # Late mails have one of these causes: a warning about workers would mislead.
    may_warn = not unserved and not paused_accounts()
    for lane in Mail.Lane:
        yield from _waiting(lane, may_warn)


def _waiting(lane: Mail.Lane, may_warn: bool) -> Iterator[Reading]:
    due = Q(due__lte=database_now(using()))
    figures = _mails(state=State.WAITING, lane=lane).aggregate(
        due_now=Count("pk", filter=due),
        due_since=Min("due", filter=due),
        next_due=Min("due", filter=~due),
    )
    seconds = -(_seconds_to(figures["due_since"]) or 0)
    yield DUE.read(figures["due_now"], lane.value)
    yield NEXT_DUE.read(_seconds_to(figures["next_due"]), lane.value)
    if seconds <= LATE or not may_warn:
        yield OLDEST_DUE.read(seconds, lane.value)
        return
    yield OLDEST_DUE.read(
        seconds,
        lane.value,
        level=Level.WARNING,
        text=f"Nobody posts the {lane.value} lane: the first mail has been due for {span(seconds)}.",
        advice=f"Does a worker run, with the queue sendgrid.{lane.value}?",
        page=_page(State.WAITING),
    )


def _page(state: Mail.State) -> str:
    return f"admin:sending_app_mail_changelist?state={state.value}"


def _without_account() -> dict[str, int]:
    usable = [mailer.alias for mailer in account.usable()]
    unserved = _mails(state=State.WAITING).exclude(alias__in=usable)
    return dict(unserved.order_by("alias").values_list("alias").annotate(Count("pk")))


def _mails(**conditions: object) -> "QuerySet[Mail]":
    return Mail.objects.filter(**conditions)


def _seconds_to(time: datetime | None) -> int | None:
    return None if time is None else round((time - database_now(using())).total_seconds())
