"""Pending deliveries, as text for a terminal, and as JSON for a pipe."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import Model

from events_app.dispatch.filters import pending_of, state_of
from events_app.models import AbstractPendingDelivery
from events_app.shared.console.terminal import indented, printable

_PENDING_FIELDS = ("failures", "worker_deaths", "replay", "due", "receivers", "error")


def minute(at: datetime) -> str:
    """A time in a table."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def tries(pending: AbstractPendingDelivery | None) -> str:
    """How often it was tried in vain, in a table."""
    return str(pending.failures + pending.worker_deaths) if pending else ""


def why(pending: AbstractPendingDelivery | None) -> str:
    """In one line: which receivers failed and with what, or else why it is pending or a dead letter."""
    if pending is None:
        return ""
    failed = [f"{name}: {last_words(pending.receivers[name])}" for name in failed_receivers(pending)]
    replay = "replay" if pending.replay else ""
    return printable(" | ".join(failed) or pending.error or replay).replace("\n", " ")


def failed_receivers(pending: AbstractPendingDelivery | None) -> list[str]:
    """Those whose last call failed; others may be pending as well."""
    return sorted(name for name, error in pending.receivers.items() if error) if pending else []


def last_words(error: str) -> str:
    """The error itself out of a traceback, without what follows in further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]


def as_json(row: Model) -> dict[str, Any]:
    """The state of an event or a mail, and its pending delivery."""
    pending = pending_of(row)
    return {
        "state": state_of(pending),
        "pending": pending and {name: getattr(pending, name) for name in _PENDING_FIELDS},
    }


def facts(row: Model) -> dict[str, object]:
    """The same, for people."""
    pending = pending_of(row)
    return {"state": state_of(pending), **(_pending_facts(pending) if pending else {})}


def _pending_facts(pending: AbstractPendingDelivery) -> dict[str, object]:
    waiting = sorted(pending.receivers.keys() - failed_receivers(pending))
    return {
        "reason": pending.error,
        "failed tries": pending.failures,
        "worker deaths": pending.worker_deaths,
        "replay": "yes" if pending.replay else "",
        "due": pending.due if pending.state == AbstractPendingDelivery.State.PENDING else "",
        "failed": ", ".join(failed_receivers(pending)),
        "not reached": ", ".join(waiting),
        "still to call": "" if pending.receivers else "all receivers",
    }


def failures(row: Model) -> Iterator[str]:
    """The traceback of each receiver that failed."""
    pending = pending_of(row)
    for name in failed_receivers(pending):
        yield f"\nReceiver {printable(name)}"
        yield from indented(pending.receivers[name] if pending else "")
