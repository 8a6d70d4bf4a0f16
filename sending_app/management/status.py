"""The state of the outbox on one page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet

from events_app.shared.console.terminal import Table, attributes, counted, printable, section, span
from events_app.shared.database import database_now
from sending_app import account
from sending_app.models import Mail, OpenCircuit
from sending_app.outbox import using

State = Mail.State

#: States that are not final, and failed. Accepted and cancelled mails are not counted: there may be millions.
STATES = (State.WAITING, State.POSTING, State.UNKNOWN, State.PARKED, State.FAILED)

#: Seconds after which a due mail causes a warning. Workers look for due mails every few seconds.
LATE = 60

_MEANINGS = {
    State.POSTING.value: "in a worker's hands",
    State.PARKED.value: "nobody knows whether SendGrid has them: outbox settle",
    State.FAILED.value: "given up",
}


def gather_outbox() -> dict[str, Any]:
    usable = account.usable()
    fingerprints = {mailer.fingerprint for mailer in usable}
    unserved = _mails(state=State.WAITING).exclude(alias__in=[mailer.alias for mailer in usable])
    return {
        # A query for each state, because each state has its own index.
        "mails": {
            lane.value: {state.value: _mails(state=state, lane=lane).count() for state in STATES}
            for lane in Mail.Lane
        },
        "refused": _mails(refused=True, state=State.FAILED).count(),
        "sent_twice": _mails(sent_twice=True).count(),
        "waiting": {lane.value: _waiting(lane) for lane in Mail.Lane},
        "seconds_to_reconcile": _seconds_to(_mails(state=State.UNKNOWN).aggregate(due=Min("due"))["due"]),
        "without_account": dict(unserved.order_by("alias").values_list("alias").annotate(Count("pk"))),
        "open_circuits": [
            {
                "mailer": row.alias,
                **attributes(row, ("opened_at", "probe_at", "failures", "status_code", "reason")),
                "in_use": row.account in fingerprints,
            }
            for row in OpenCircuit.objects.using(using()).order_by("alias", "opened_at")
        ],
    }


def _mails(**conditions: object) -> "QuerySet[Mail]":
    return Mail.objects.using(using()).filter(**conditions)


def _waiting(lane: Mail.Lane) -> dict[str, Any]:
    """Of the waiting mails: how many are due, since when, and when the next one is."""
    due = Q(due__lte=database_now(using()))
    figures = _mails(state=State.WAITING, lane=lane).aggregate(
        due_now=Count("pk", filter=due),
        due_since=Min("due", filter=due),
        next_due=Min("due", filter=~due),
    )
    seconds = _seconds_to(figures["due_since"])
    return {
        "due_now": figures["due_now"],
        "seconds_due": None if seconds is None else -seconds,
        "seconds_to_next": _seconds_to(figures["next_due"]),
    }


def _seconds_to(time: datetime | None) -> int | None:
    return None if time is None else round((time - database_now(using())).total_seconds())


def outbox_page(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as text."""
    rows = [
        (lane, state, count, _words(state, figures["waiting"][lane], figures["seconds_to_reconcile"]))
        for lane, counts in figures["mails"].items()
        for state, count in counts.items()
        if count or state == State.WAITING
    ]
    yield from Table(("lane", "state", "mails", "")).lines(rows)
    if figures["refused"]:
        yield f"\nSendGrid refuses the recipients of {counted(figures['refused'], 'failed mail')}."
    if figures["sent_twice"]:
        yield f"\nSendGrid has accepted {counted(figures['sent_twice'], 'mail')} twice: list --sent-twice"
    if warnings := [*_warnings(figures)]:
        yield "\n" + "\n".join(warnings)
    header = ("paused mailer", "tried again (UTC)", "tries", "SendGrid's words")
    yield from section(header, [_cells(circuit) for circuit in figures["open_circuits"]])


def _words(state: str, waiting: dict[str, Any], to_reconcile: int | None) -> str:
    if state == State.WAITING:
        details = {
            f"{waiting['due_now']} due now": waiting["due_now"],
            f"the first for {span(waiting['seconds_due'] or 0)}": waiting["due_now"],
            f"the next in {span(waiting['seconds_to_next'] or 0)}": waiting["seconds_to_next"] is not None,
        }
        return ", ".join(detail for detail, holds in details.items() if holds)
    if state == State.UNKNOWN:
        decision = span(max(to_reconcile or 0, 0))
        return f"SendGrid may have them; its events tell, or it is decided in {decision}"
    return _MEANINGS[state]


def _warnings(figures: dict[str, Any]) -> Iterator[str]:
    for alias, count in figures["without_account"].items():
        yield f"WARNING: {counted(count, 'mail')} for the mailer {printable(alias)}, which has no API key."
    if figures["without_account"] or any(circuit["in_use"] for circuit in figures["open_circuits"]):
        return  # late mails have one of these causes: a warning about workers would mislead
    for lane, waiting in figures["waiting"].items():
        if (waiting["seconds_due"] or 0) > LATE:
            queue = f"sendgrid.{lane}"
            yield f"WARNING: Nobody posts the {lane} lane. Does a worker run, with the queue {queue}?"


def _cells(circuit: dict[str, Any]) -> tuple[object, ...]:
    words = (str(circuit["status_code"] or ""), circuit["reason"].partition("\n")[0])
    return (
        # The circuit belongs to the key. The row of a replaced key stays for a day.
        circuit["mailer"] if circuit["in_use"] else f"{circuit['mailer']} (old key)",
        f"{circuit['probe_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        circuit["failures"],
        " ".join(filter(None, words)),
    )
