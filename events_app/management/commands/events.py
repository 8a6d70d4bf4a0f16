"""The operator's command: which events there are, what became of them, and have them tried again."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, cast

import click
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet

from events_app import replay, search, tasks
from events_app.bell import ring
from events_app.management import arguments, rendering, status
from events_app.models import Event, Work
from events_app.search import Criteria, slices, state_of, work_of

#: Events that are shown in full are read so many at a time; one can have megabytes.
IN_FULL = 20

_LEFT_ALONE = {
    "in_progress": "a worker has them in hand",
    "owed": "receivers are still owed them (to hurry those that are put off: events retry)",
}

_Options = dict[str, Any]


class Command(BaseCommand):
    help = "Stored events: look them up, have them tried again, call receivers anew, see what is going on."
    # Who looks at a deployment that is broken is not to be stopped by what is broken about it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_to(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is asked; whatever can go wrong outside of us is a CommandError."""
        actions = {
            "list": self._list,
            "show": self._show,
            "retry": self._retry,
            "replay": self._replay,
            "status": self._status,
        }
        try:
            actions[options["action"]](options)
            self.stdout.flush()
        except (DatabaseError, InterfaceError) as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise CommandError(f"The database cannot be asked: {said}") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was done so far stays done.", returncode=130) from None
        except BrokenPipeError:
            # Whoever reads our output, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    # To look at

    def _list(self, options: _Options) -> None:
        criteria = arguments.criteria(options)
        self._warn_of_missing(criteria)
        limit = options["limit"] or sys.maxsize
        events = search.find(criteria).select_related("work").defer("raw")
        found = chain.from_iterable(slices(events, min(limit, search.SLICE), newest_first=True))
        if options["json"]:
            for event in islice(found, limit):
                self.stdout.write(rendering.dump(rendering.as_json(event)))
        else:
            self._table(islice(found, limit), events)

    def _table(self, found: Iterator[Event], events: "QuerySet[Event]") -> None:
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else None
        table = rendering.Table(width)
        count = 0
        while part := list(islice(found, search.SLICE)):
            count += len(part)
            for line in table.rows(part):
                self.stdout.write(line)
        if not count:
            self.stdout.write("No event matches.")
            return
        total = events.count()
        more = f"The newest {count} of {total} events; --limit 0 lists all."
        self.stdout.write(more if total > count else _events(count))

    def _show(self, options: _Options) -> None:
        criteria = arguments.criteria(options)
        if criteria == Criteria():
            raise CommandError("Say which events: an id, or one of the filters in --help.")
        shown = 0
        events = search.find(criteria).select_related("work")
        for event in chain.from_iterable(slices(events, IN_FULL)):
            if options["json"]:
                self.stdout.write(rendering.dump(rendering.in_full_as_json(event)))
            else:
                self.stdout.write("\n" * bool(shown) + "\n".join(rendering.page(event)))
            shown += 1
        if missing := search.missing(criteria.ids):
            raise CommandError(_no_event(missing))
        if not shown:
            raise CommandError("No event matches.")

    def _status(self, options: _Options) -> None:
        found, away = status.gather()
        lines = [rendering.dump(found)] if options["json"] else status.page(found)
        for line in lines:
            self.stdout.write(line)
        if away:
            raise CommandError("\n".join(away))

    # To change

    def _retry(self, options: _Options) -> None:
        events = self._to_change(options)
        with_work = events.filter(work__isnull=False)
        did: Counter[str] = Counter(matched=events.count(), retried=0, in_progress=0)
        if options["dry_run"]:
            parts = (replay.retryable(pks) for pks in self._pks(with_work, options))
            works = chain.from_iterable(part.select_related("event").defer("event__raw") for part in parts)
            self._rehearse("retry", ((work.event, work) for work in works), did["matched"], options)
            return
        try:
            for pks in self._pks(with_work, options):
                did.update(replay.retry(pks)._asdict())
        finally:
            if did["retried"]:
                ring(tasks.retry)
                ring(tasks.recover)
            self._tell(did, "retried", "in_progress", options)

    def _replay(self, options: _Options) -> None:
        connected = replay.connected()
        if unknown := [name for name in options["to"] if name not in connected]:
            there = "".join(f"\n  {name}" for name in connected) or " none"
            raise CommandError(f"No receiver {', '.join(unknown)} is connected. There are:{there}")
        events = self._to_change(options)
        did: Counter[str] = Counter(matched=events.count(), replayed=0, owed=0)
        if options["dry_run"]:
            parts = (replay.replayable(pks) for pks in self._pks(events, options))
            found = chain.from_iterable(part.select_related("work").defer("raw") for part in parts)
            self._rehearse("replay", ((event, work_of(event)) for event in found), did["matched"], options)
            return
        try:
            for pks in self._pks(events, options):
                did.update(replay.replay(pks, options["to"])._asdict())
        finally:
            if did["replayed"]:
                ring(tasks.retry)
            self._tell(did, "replayed", "owed", options)

    def _to_change(self, options: _Options) -> "QuerySet[Event]":
        criteria = arguments.criteria(options)
        if criteria == Criteria() and not options["all"]:
            raise CommandError("Say which events: an id, or one of the filters in --help. Or --all.")
        self._warn_of_missing(criteria)
        return search.find(criteria)

    def _pks(self, events: "QuerySet[Event]", options: _Options) -> Iterator[list[int]]:
        """The ids of events, a slice at a time, with a bar that shows how far it has got."""
        length = events.count()
        parts = ([event.pk for event in part] for part in slices(events.only("pk"), search.SLICE))
        if options["json"] or length <= search.SLICE or not self.stdout.isatty():
            yield from parts
            return
        with click.progressbar(length=length, file=cast(Any, self.stdout)._out) as bar:
            for part in parts:
                yield part
                bar.update(len(part))

    def _rehearse(
        self, what: str, found: Iterable[tuple[Event, Work | None]], matched: int, options: _Options
    ) -> None:
        groups = Counter(
            (event.event_type, state_of(work).value, tuple(rendering.failed_receivers(work) if work else ()))
            for event, work in found
        )
        rows = sorted(groups.items(), key=lambda group: (-group[1], group[0]))
        if options["json"]:
            named = [
                {"type": kind, "state": state, "receivers": names, "events": count}
                for (kind, state, names), count in rows
            ]
            said = {"dry_run": True, "matched": matched, f"would_{what}": groups.total(), "groups": named}
            self.stdout.write(rendering.dump(said))
            return
        cells = [(count, kind, state, ", ".join(names)) for (kind, state, names), count in rows]
        for line in rendering.columns(("events", "type", "state", "failed receivers"), cells):
            self.stdout.write(line)
        self.stdout.write(f"Would {what} {groups.total()} of {_events(matched)}. Nothing was changed.")

    def _tell(self, did: Counter[str], what: str, left_alone: str, options: _Options) -> None:
        if options["json"]:
            self.stdout.write(rendering.dump(did))
            return
        self.stdout.write(f"{what.capitalize()} {did[what]} of {_events(did['matched'])}.")
        if did[left_alone]:
            self.stdout.write(f"{did[left_alone]} left alone: {_LEFT_ALONE[left_alone]}.")
        others = did["matched"] - did[what] - did[left_alone]
        if others > 0 and what == "retried":
            self.stdout.write(f"{others} with nothing to retry: done, or not tried yet.")
        if did[what]:
            self.stdout.write("A worker takes them up now, or at beat's next tick.")

    def _warn_of_missing(self, criteria: Criteria) -> None:
        if missing := search.missing(criteria.ids):
            self.stderr.write(_no_event(missing))


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _no_event(missing: list[str]) -> str:
    return f"No event has the id {', '.join(missing)}."
