"""The base of the commands for events and inbound mails, with their deliveries to receivers."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from events_app.dispatch import replay
from events_app.dispatch.filters import State, pending_of, state_of
from events_app.dispatch.kinds import Kind
from events_app.models import AbstractPendingDelivery
from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Change, Console, Options
from events_app.shared.console.terminal import attributes, indented, printable
from events_app.shared.wakeup import wake

if TYPE_CHECKING:
    from celery import Task


class Incoming(Console):
    """A command for one kind of stored rows that are delivered to receivers."""

    kind: ClassVar[Kind]
    name: ClassVar[str]
    related = "pending"
    retry_task: ClassVar["Task[[], object]"]
    recover_task: ClassVar["Task[[], object]"]

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
        return actions, parents

    def incoming_filters(self, ids: str, address: str) -> tuple[CommandParser, Any]:
        parser, group = shared_options.filters(f"{self.noun}s", ids, address, State, since="received")
        group.add_argument("--receiver", metavar="NAME", help="this receiver failed and is still pending")
        return parser, group

    def _retry(self, options: Options) -> None:
        change = Change(
            "retry",
            "retried",
            preview=partial(replay.retryable, kind=self.kind),
            apply=lambda ids: replay.retry(ids, self.kind),
            left_alone={"in_progress": "a worker has them in hand"},
            otherwise="with nothing to retry: done, or not tried yet",
            only=Q(pending__isnull=False),
            wakes=[partial(wake, self.retry_task), partial(wake, self.recover_task)],
        )
        self.apply_change(change, options)

    def _replay(self, options: Options) -> None:
        connected = replay.connected_receivers(self.kind)
        if unknown := [name for name in options["to"] if name not in connected]:
            names = "".join(f"\n  {name}" for name in connected) or " none"
            raise CommandError(f"No receiver {', '.join(unknown)} is connected. There are:{names}")
        hint = f"to call the receivers of deferred ones now: {self.name} retry"
        change = Change(
            "replay",
            "replayed",
            preview=partial(replay.replayable, kind=self.kind),
            apply=lambda ids: replay.replay(ids, options["to"], self.kind),
            left_alone={"pending": f"still pending ({hint})"},
            wakes=[partial(wake, self.retry_task)],
        )
        self.apply_change(change, options)


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
    failed = [f"{name}: {last_words(pending.receivers[name])}" for name in failed_receivers(row)]
    return " | ".join(failed) or pending.error or ("replay" if pending.replay else "")


def failed_receivers(row: Any) -> tuple[str, ...]:
    """Receivers whose last call failed. Further ones may be pending."""
    pending = pending_of(row)
    return tuple(sorted(name for name, error in pending.receivers.items() if error)) if pending else ()


def last_words(error: str) -> str:
    """The error in a traceback, without its further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]


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
    failed = failed_receivers(row)
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
    for name in failed_receivers(row):
        yield f"\nReceiver {printable(name)}"
        yield from indented(pending.receivers[name] if pending else "")
