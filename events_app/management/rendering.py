"""What receivers are owed, as text for a terminal, and as JSON for a pipe."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import Model

from events_app.dispatch.filters import state_of, work_of
from events_app.models import Owing
from events_app.shared.console.terminal import indented, printable

_OF_WORK = ("failures", "lapses", "replay", "due", "receivers", "error")


def minute(at: datetime) -> str:
    """A time in a table."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def tries(work: Owing | None) -> str:
    """How often it was tried in vain, in a table."""
    return str(work.failures + work.lapses) if work else ""


def why(work: Owing | None) -> str:
    """In one line: which receivers failed and with what, or else why it stands where it does."""
    if work is None:
        return ""
    failed = [f"{name}: {last_words(work.receivers[name])}" for name in failed_receivers(work)]
    replay = "replay" if work.replay else ""
    return printable(" | ".join(failed) or work.error or replay).replace("\n", " ")


def failed_receivers(work: Owing | None) -> list[str]:
    """Those whose last call failed; others may be owed it as well."""
    return sorted(name for name, error in work.receivers.items() if error) if work else []


def last_words(error: str) -> str:
    """The error itself out of a traceback, without what follows in further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]


def as_json(row: Model) -> dict[str, Any]:
    """The state of an event or a mail, and its work."""
    work = work_of(row)
    return {"state": state_of(work), "work": work and {name: getattr(work, name) for name in _OF_WORK}}


def facts(row: Model) -> dict[str, object]:
    """The same, for people."""
    work = work_of(row)
    return {"state": state_of(work), **(_of_work(work) if work else {})}


def _of_work(work: Owing) -> dict[str, object]:
    waiting = sorted(work.receivers.keys() - failed_receivers(work))
    return {
        "reason": work.error,
        "failed tries": work.failures,
        "died workers": work.lapses,
        "replay": "yes" if work.replay else "",
        "due": work.due if work.state == Owing.State.OWED else "",
        "failed": ", ".join(failed_receivers(work)),
        "not reached": ", ".join(waiting),
        "owed to": "" if work.receivers else "all receivers",
    }


def failures(row: Model) -> Iterator[str]:
    """The traceback of each receiver that failed."""
    work = work_of(row)
    for name in failed_receivers(work):
        yield f"\nReceiver {printable(name)}"
        yield from indented(work.receivers[name] if work else "")
