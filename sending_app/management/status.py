"""How the outbox stands, on one page."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.db.models import Count, Min, Q, QuerySet

from events_app.shared.console.terminal import columns, counted, printable, span
from events_app.shared.database import database_now
from sending_app import account
from sending_app.models import Mail, OpenCircuit
from sending_app.outbox import using

State = Mail.State

#: With something left to do, or to look at. What is accepted or cancelled is not counted: it may be millions.
STATES = (State.WAITING, State.POSTING, State.UNKNOWN, State.PARKED, State.FAILED)

#: Seconds a mail is due before that is worth a warning: a worker looks each few seconds.
LATE = 60


def gather() -> dict[str, Any]:
    """All there is to say."""
    return {
        "mails": {lane.value: _counts(lane) for lane in Mail.Lane},
        "sent_twice": _mails(sent_twice=True).count(),
        "waiting": {lane.value: _waiting(lane) for lane in Mail.Lane},
        "seconds_to_reconcile": _seconds(_mails(state=State.UNKNOWN).aggregate(due=Min("due"))["due"]),
        "without_account": _without_account(),
        "open_circuits": _open_circuits(),
    }


def _mails(**conditions: object) -> "QuerySet[Mail]":
    return Mail.objects.using(using()).filter(**conditions)


def _counts(lane: Mail.Lane) -> dict[str, int]:
    # One question for each: each state has its index.
    return {state.value: _mails(state=state, lane=lane).count() for state in STATES}


def _waiting(lane: Mail.Lane) -> dict[str, Any]:
    """Of those that wait: how many could be posted now, and for how long the first one has been due."""
    now = database_now(using())
    due = Q(due__lte=now)
    found = _mails(state=State.WAITING, lane=lane).aggregate(
        due_now=Count("pk", filter=due),
        due_since=Min("due", filter=due),
        next_due=Min("due", filter=~due),
    )
    since, following = _seconds(found["due_since"]), _seconds(found["next_due"])
    return {
        "due_now": found["due_now"],
        "seconds_due": None if since is None else -since,
        "seconds_to_next": following,
    }


def _seconds(until: Any) -> int | None:
    return None if until is None else round((until - database_now(using())).total_seconds())


def _without_account() -> dict[str, int]:
    """Mails whose mailer the settings have not all of, which nobody can post."""
    known = [one.alias for one in account.usable()]
    rows = _mails(state=State.WAITING).exclude(alias__in=known).order_by("alias")
    return dict(rows.values_list("alias").annotate(Count("pk")))


def _open_circuits() -> list[dict[str, Any]]:
    names = ("opened_at", "probe_at", "failures", "status_code", "reason")
    used = {one.fingerprint for one in account.usable()}
    return [
        {
            "mailer": circuit.alias,
            **{name: getattr(circuit, name) for name in names},
            "in_use": circuit.account in used,
        }
        for circuit in OpenCircuit.objects.using(using()).order_by("alias", "opened_at")
    ]


def page(found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    rows = [
        (lane, state, count, _words(state, found["waiting"][lane], found["seconds_to_reconcile"]))
        for lane, counts in found["mails"].items()
        for state, count in counts.items()
        if count or state == State.WAITING
    ]
    yield from columns(("lane", "state", "mails", ""), rows)
    if found["sent_twice"]:
        yield f"\nSendGrid has accepted {counted(found['sent_twice'], 'mail')} twice: list --sent-twice"
    if warnings := [*_unserved(found), *_late(found)]:
        yield ""
        yield from warnings
    if found["open_circuits"]:
        yield ""
        yield from columns(
            ("paused mailer", "tried again (UTC)", "tries", "SendGrid's words"), _open_circuit_rows(found)
        )


def _words(state: str, waiting: dict[str, Any], to_reconcile: int | None) -> str:
    if state == State.WAITING:
        said = {
            f"{waiting['due_now']} due now": waiting["due_now"],
            f"the first for {span(waiting['seconds_due'] or 0)}": waiting["due_now"],
            f"the next in {span(waiting['seconds_to_next'] or 0)}": waiting["seconds_to_next"] is not None,
        }
        return ", ".join(words for words, is_so in said.items() if is_so)
    if state == State.UNKNOWN:
        return (
            f"SendGrid may have them; its events tell, or it is decided in {span(max(to_reconcile or 0, 0))}"
        )
    return _MEANINGS[state]


_MEANINGS = {
    State.POSTING.value: "in a worker's hands",
    State.PARKED.value: "nobody knows whether SendGrid has them: outbox settle",
    State.FAILED.value: "given up",
}


def _unserved(found: dict[str, Any]) -> Iterator[str]:
    for alias, count in found["without_account"].items():
        yield f"WARNING: {counted(count, 'mail')} for the mailer {printable(alias)}, which has no API key."


def _late(found: dict[str, Any]) -> Iterator[str]:
    if found["without_account"] or any(circuit["in_use"] for circuit in found["open_circuits"]):
        return  # reason enough
    for lane, waiting in found["waiting"].items():
        if (waiting["seconds_due"] or 0) > LATE:
            queue = f"sendgrid.{lane}"
            yield f"WARNING: Nobody posts the {lane} lane. Does a worker run, with the queue {queue}?"


def _open_circuit_rows(found: dict[str, Any]) -> list[tuple[str | int, ...]]:
    return [
        (
            # A circuit is the key's, and closes with a post that works: that of a key put aside stays for a
            # day.
            circuit["mailer"] if circuit["in_use"] else f"{circuit['mailer']} (old key)",
            f"{circuit['probe_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            circuit["failures"],
            " ".join(filter(None, (str(circuit["status_code"] or ""), circuit["reason"].partition("\n")[0]))),
        )
        for circuit in found["open_circuits"]
    ]
