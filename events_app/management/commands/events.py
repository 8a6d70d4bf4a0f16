"""The operator's command: which events there are, what became of them, and have them tried again."""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import chain

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from events_app import replay, search, tasks
from events_app.bell import ring
from events_app.management import arguments, rendering, status
from events_app.management.console import Console, Options
from events_app.management.terminal import dump
from events_app.models import Event
from events_app.search import Criteria, state_of, work_of

_LEFT_ALONE = {
    "in_progress": "a worker has them in hand",
    "owed": "receivers are still owed them (to hurry those that are put off: events retry)",
}


class Command(Console):
    help = "Stored events: look them up, have them tried again, call receivers anew, see what is going on."
    noun = "event"

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_to(parser)

    # To look at

    def _list(self, options: Options) -> None:
        criteria = arguments.criteria(options)
        self.warn_of(search.missing(criteria.ids))
        events = search.find(criteria).select_related("work").defer("raw")
        self.write_list(events, options, rendering.table(self.width()), rendering.cells, rendering.as_json)

    def _show(self, options: Options) -> None:
        criteria = arguments.criteria(options)
        self.require(criteria != Criteria())
        events = search.find(criteria).select_related("work")
        missing = partial(search.missing, criteria.ids)
        self.write_pages(events, options, rendering.page, rendering.in_full_as_json, missing)

    def _status(self, options: Options) -> None:
        found, away = status.gather()
        self.write([dump(found)] if options["json"] else status.page(found))
        if away:
            raise CommandError("\n".join(away))

    # To change

    def _retry(self, options: Options) -> None:
        events = self._to_change(options)
        with_work = events.filter(work__isnull=False)
        did: Counter[str] = Counter(matched=events.count(), retried=0, in_progress=0)
        if options["dry_run"]:
            parts = (replay.retryable(pks) for pks in self.pks(with_work, options))
            found = chain.from_iterable(part.select_related("work").defer("raw") for part in parts)
            self._rehearse("retry", found, did["matched"], options)
            return
        try:
            for pks in self.pks(with_work, options):
                did.update(replay.retry(pks)._asdict())
        finally:
            if did["retried"]:
                ring(tasks.retry)
                ring(tasks.recover)
            self._tell(did, "retried", "in_progress", options)

    def _replay(self, options: Options) -> None:
        connected = replay.connected()
        if unknown := [name for name in options["to"] if name not in connected]:
            there = "".join(f"\n  {name}" for name in connected) or " none"
            raise CommandError(f"No receiver {', '.join(unknown)} is connected. There are:{there}")
        events = self._to_change(options)
        did: Counter[str] = Counter(matched=events.count(), replayed=0, owed=0)
        if options["dry_run"]:
            parts = (replay.replayable(pks) for pks in self.pks(events, options))
            found = chain.from_iterable(part.select_related("work").defer("raw") for part in parts)
            self._rehearse("replay", found, did["matched"], options)
            return
        try:
            for pks in self.pks(events, options):
                did.update(replay.replay(pks, options["to"])._asdict())
        finally:
            if did["replayed"]:
                ring(tasks.retry)
            self._tell(did, "replayed", "owed", options)

    def _to_change(self, options: Options) -> "QuerySet[Event]":
        criteria = arguments.criteria(options)
        self.require(criteria != Criteria() or options["all"], or_all=True)
        self.warn_of(search.missing(criteria.ids))
        return search.find(criteria)

    def _rehearse(self, what: str, found: Iterable[Event], matched: int, options: Options) -> None:
        groups = Counter(map(_group, found))
        names = {"type": "type", "state": "state", "receivers": "failed receivers"}
        self.rehearse(what, groups, names, matched, options)

    def _tell(self, did: Counter[str], what: str, left_alone: str, options: Options) -> None:
        if options["json"]:
            self.stdout.write(dump(did))
            return
        self.stdout.write(f"{what.capitalize()} {did[what]} of {self.counted(did['matched'])}.")
        if did[left_alone]:
            self.stdout.write(f"{did[left_alone]} left alone: {_LEFT_ALONE[left_alone]}.")
        others = did["matched"] - did[what] - did[left_alone]
        if others > 0 and what == "retried":
            self.stdout.write(f"{others} with nothing to retry: done, or not tried yet.")
        if did[what]:
            self.stdout.write("A worker takes them up now, or at beat's next tick.")


def _group(event: Event) -> tuple[str, str, tuple[str, ...]]:
    work = work_of(event)
    return event.event_type, state_of(work).value, tuple(rendering.failed_receivers(work) if work else ())
