"""The state of the outbox on one page, from the facts."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from events_app.shared.console.terminal import Table, attributes, counted, section, span
from events_app.shared.facts import Depth, Level, Readings, gather
from events_app.shared.heartbeats import WORKERS
from sending_app.models import Mail, OpenCircuit
from sending_app.monitoring import outbox
from sending_app.monitoring.circuits import paused_accounts

State = Mail.State

#: Seconds that a source has to read its facts. The count of a large table may take some.
PATIENCE = 30.0

_MEANINGS = {
    State.POSTING.value: "in a worker's hands",
    State.PARKED.value: "nobody knows whether SendGrid has them: outbox settle",
    State.FAILED.value: "given up",
    State.REJECTED.value: "every recipient is suppressed",
}


def gather_outbox() -> Readings:
    return Readings(gather(Depth.FIGURES, package="sending_app", seconds=PATIENCE))


def outbox_as_json(readings: Readings) -> dict[str, Any]:
    """The figures; None for the figures of a server without an answer."""
    mails: dict[str, dict[str, Any]] = {}
    for (lane, state), reading in readings.of(outbox.MAILS).items():
        mails.setdefault(lane, {})[state] = reading.value
    unserved = {mailer: reading.value for (mailer,), reading in readings.of(outbox.WITHOUT_ACCOUNT).items()}
    return {
        "mails": mails or None,
        "refused": readings.value(outbox.REFUSED),
        "sent_twice": readings.value(outbox.SENT_TWICE),
        "waiting": {lane: _waiting(readings, lane) for lane in mails} or None,
        "seconds_to_reconcile": readings.value(outbox.NEXT_RECONCILED),
        "without_account": unserved if mails else None,
        "open_circuits": _open_circuits() if mails else None,
        "workers": {queue: reading.value for (queue,), reading in readings.of(WORKERS).items()} or None,
    }


def _waiting(readings: Readings, lane: str) -> dict[str, Any]:
    """Of the waiting mails: how many are due, since when, and when the next one is."""
    due_now = readings.value(outbox.DUE, lane)
    return {
        "due_now": due_now,
        "seconds_due": readings.value(outbox.OLDEST_DUE, lane) if due_now else None,
        "seconds_to_next": readings.value(outbox.NEXT_DUE, lane),
    }


def _open_circuits() -> list[dict[str, Any]]:
    in_use = {circuit.account for circuit in paused_accounts().values()}
    return [
        {
            "mailer": circuit.alias,
            **attributes(circuit, ("opened_at", "probe_at", "failures", "status_code", "reason")),
            "in_use": circuit.account in in_use,
        }
        for circuit in OpenCircuit.objects.order_by("alias", "opened_at")
    ]


def outbox_page(readings: Readings) -> Iterator[str]:
    """The figures as text, as far as the servers answered."""
    figures = outbox_as_json(readings)
    if figures["mails"]:
        yield from _mails(figures)
    warnings = readings.lines(WORKERS, outbox.WITHOUT_ACCOUNT, outbox.OLDEST_DUE, least=Level.ADVICE)
    if warnings:
        yield "\n" + "\n".join(warnings)
    header = ("paused mailer", "tried again (UTC)", "tries", "SendGrid's words")
    yield from section(header, [_cells(circuit) for circuit in figures["open_circuits"] or ()])


def _mails(figures: dict[str, Any]) -> Iterator[str]:
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


def _cells(circuit: dict[str, Any]) -> tuple[object, ...]:
    words = (str(circuit["status_code"] or ""), circuit["reason"].partition("\n")[0])
    return (
        # The circuit belongs to the key. The row of a replaced key stays for a day.
        circuit["mailer"] if circuit["in_use"] else f"{circuit['mailer']} (old key)",
        f"{circuit['probe_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        circuit["failures"],
        " ".join(filter(None, words)),
    )
