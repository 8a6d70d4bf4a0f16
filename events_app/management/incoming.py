"""The base of the commands for events and inbound mails, with their deliveries to receivers."""

from collections.abc import Iterator
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from events_app.changes import Changes
from events_app.dispatch import replay
from events_app.dispatch.filters import State, pending_of, state_of
from events_app.dispatch.reasons import errors_of, last_words
from events_app.models import AbstractPendingDelivery
from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Console, Options
from events_app.shared.console.terminal import attributes, indented
from events_app.shared.escaping import one_line


class Incoming(Console):
    """A command for one kind of stored rows that are delivered to receivers."""

    changes: ClassVar[Changes]
    related = "pending"

    def add_actions(self, parser: CommandParser) -> tuple[Any, list[CommandParser]]:
        actions, parents = super().add_actions(parser)
        parents = [*parents, shared_options.change()]
        retry = f"call failed receivers again now, for dead letters and deferred {self.noun}s"
        actions.add_parser("retry", parents=parents, help=retry)
        again = f"call receivers anew, for delivered {self.noun}s and dead letters"
        parser = actions.add_parser("replay", parents=parents, help=again)
        parser.add_argument(
            "--to", action="append", default=[], metavar="NAME", help="only this receiver; may be repeated"
        )
        discard = "give dead letters up: nobody calls their receivers again"
        actions.add_parser("discard", parents=parents, help=discard)
        return actions, parents

    def incoming_filters(self, ids: str, address: str) -> tuple[CommandParser, Any]:
        parser, group = shared_options.filters(f"{self.noun}s", ids, address, State, since="received")
        group.add_argument("--receiver", metavar="NAME", help="this receiver failed and is still pending")
        return parser, group

    def _retry(self, options: Options) -> None:
        self.apply_change(self.changes.retry(), options)

    def _replay(self, options: Options) -> None:
        connected = replay.connected_receivers(self.changes.kind)
        if unknown := [name for name in options["to"] if name not in connected]:
            names = "".join(f"\n  {name}" for name in connected) or " none"
            raise CommandError(f"No receiver {', '.join(unknown)} is connected. There are:{names}")
        self.apply_change(self.changes.replay(options["to"]), options)

    def _discard(self, options: Options) -> None:
        self.apply_change(self.changes.discard(), options)


def state(row: Any) -> str:
    return state_of(pending_of(row)).value


def tries(row: Any) -> int | None:
    """Failed tries and worker deaths."""
    pending = pending_of(row)
    return None if pending is None else pending.failures + pending.worker_deaths


def why_pending(row: Any) -> str:
    """The failed receivers with their errors, or else why the row is pending or a dead letter."""
    pending = pending_of(row)
    if pending is None:
        return ""
    failed = [f"{name}: {last_words(error)}" for name, error in errors_of(pending).items()]
    return " | ".join(failed) or pending.error or ("replay" if pending.replay else "")


def delivery_as_json(row: Any) -> dict[str, Any]:
    """The state of an event or a mail, and its pending delivery."""
    pending = pending_of(row)
    names = ("failures", "worker_deaths", "replay", "due", "receivers", "error")
    return {"state": state(row), "pending": pending and attributes(pending, names)}


def delivery_facts(row: Any) -> dict[str, object]:
    """The state of an event or a mail, and its pending delivery, as fields of a page."""
    pending = pending_of(row)
    if pending is None:
        return {"state": state(row)}
    failed = errors_of(pending)
    return {
        "state": state(row),
        "reason": pending.error,
        "failed tries": pending.failures,
        "worker deaths": pending.worker_deaths,
        "replay": "yes" if pending.replay else "",
        "due": pending.due if pending.state == AbstractPendingDelivery.State.PENDING else "",
        "failed": ", ".join(failed),
        "not reached": ", ".join(sorted(pending.receivers.keys() - failed)),
        "still to call": "" if pending.receivers else "all receivers",
    }


def tracebacks(row: Any) -> Iterator[str]:
    """The tracebacks of failed receivers."""
    pending = pending_of(row)
    for name, error in errors_of(pending).items() if pending else ():
        yield f"\nReceiver {one_line(name)}"
        yield from indented(error)
