"""What the commands about what came in do alike: look it up, and have receivers called again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.core.management.base import CommandError
from django.db.models import QuerySet

from events_app.dispatch import replay
from events_app.dispatch.kinds import Kind
from events_app.shared.console.command import Console, Options
from events_app.shared.console.terminal import Table, dump
from events_app.shared.wakeup import wake

if TYPE_CHECKING:
    from celery import Task

_LEFT_ALONE = {
    "in_progress": "a worker has them in hand",
    "pending": "still pending (to call the receivers of deferred ones now: {} retry)",
}


class Search(Protocol):
    """How rows of a kind are found."""

    def find(self, criteria: Any) -> "QuerySet[Any]": ...

    def missing(self, ids: Sequence[str]) -> list[str]: ...


class Pages(Protocol):
    """How they are shown."""

    GROUPS: Mapping[str, str]

    def table(self, width: int | None) -> Table: ...

    def cells(self, row: Any, /) -> tuple[str, ...]: ...

    def group(self, row: Any, /) -> tuple[str | tuple[str, ...], ...]: ...

    def page(self, row: Any, /) -> Iterable[str]: ...

    def as_json(self, row: Any, /) -> object: ...

    def in_full_as_json(self, row: Any, /) -> object: ...


class Incoming(Console):
    """A command about one kind of what came in, is stored, and is delivered to receivers."""

    #: What it is called by.
    name: ClassVar[str]
    kind: ClassVar[Kind]
    search: ClassVar[Search]
    pages: ClassVar[Pages]
    #: Columns that a list and a dry run have no use for, and that are large.
    large: ClassVar[tuple[str, ...]] = ()
    #: The tasks that retry, and that recover what is taken up alone.
    to_wake: ClassVar["tuple[Task[[], object], Task[[], object]]"]

    def criteria(self, options: Options) -> Any:
        """What the filters ask for."""
        raise NotImplementedError

    # To look at

    def _list(self, options: Options) -> None:
        rows, pages = self._light(self._found(options)), self.pages
        self.write_list(rows, options, pages.table(self.width()), pages.cells, pages.as_json)

    def _show(self, options: Options) -> None:
        criteria = self.criteria(options)
        self.require(not criteria.is_empty())
        rows = self.search.find(criteria).select_related("pending")
        missing = partial(self.search.missing, criteria.ids)
        self.write_pages(rows, options, self.pages.page, self.pages.in_full_as_json, missing)

    # To change

    def _retry(self, options: Options) -> None:
        rows = self._to_change(options)
        with_pending = rows.filter(pending__isnull=False)
        did: Counter[str] = Counter(matched=rows.count(), retried=0, in_progress=0)
        if options["dry_run"]:
            parts = (replay.retryable(pks, self.kind) for pks in self.pks(with_pending, options))
            self._dry_run("retry", parts, did["matched"], options)
            return
        try:
            for pks in self.pks(with_pending, options):
                did.update(replay.retry(pks, self.kind)._asdict())
        finally:
            if did["retried"]:
                for task in self.to_wake:
                    wake(task)
            self._report(did, "retried", "in_progress", options)

    def _replay(self, options: Options) -> None:
        connected = replay.connected_receivers(self.kind)
        if unknown := [name for name in options["to"] if name not in connected]:
            there = "".join(f"\n  {name}" for name in connected) or " none"
            raise CommandError(f"No receiver {', '.join(unknown)} is connected. There are:{there}")
        rows = self._to_change(options)
        did: Counter[str] = Counter(matched=rows.count(), replayed=0, pending=0)
        if options["dry_run"]:
            parts = (replay.replayable(pks, self.kind) for pks in self.pks(rows, options))
            self._dry_run("replay", parts, did["matched"], options)
            return
        try:
            for pks in self.pks(rows, options):
                did.update(replay.replay(pks, options["to"], self.kind)._asdict())
        finally:
            if did["replayed"]:
                wake(self.to_wake[0])
            self._report(did, "replayed", "pending", options)

    def _to_change(self, options: Options) -> "QuerySet[Any]":
        self.require(options["all"] or not self.criteria(options).is_empty(), or_all=True)
        return self._found(options)

    def _found(self, options: Options) -> "QuerySet[Any]":
        criteria = self.criteria(options)
        self.warn_of(self.search.missing(criteria.ids))
        return self.search.find(criteria)

    def _light(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows.select_related("pending").defer(*self.large)

    def _dry_run(self, what: str, parts: "Iterable[QuerySet[Any]]", matched: int, options: Options) -> None:
        found = chain.from_iterable(map(self._light, parts))
        self.write_dry_run(what, Counter(map(self.pages.group, found)), self.pages.GROUPS, matched, options)

    def _report(self, did: Counter[str], what: str, left_alone: str, options: Options) -> None:
        if options["json"]:
            self.stdout.write(dump(did))
            return
        self.stdout.write(f"{what.capitalize()} {did[what]} of {self.counted(did['matched'])}.")
        if did[left_alone]:
            self.stdout.write(f"{did[left_alone]} left alone: {_LEFT_ALONE[left_alone].format(self.name)}.")
        others = did["matched"] - did[what] - did[left_alone]
        if others > 0 and what == "retried":
            self.stdout.write(f"{others} with nothing to retry: done, or not tried yet.")
        if did[what]:
            self.stdout.write("A worker takes them up now, or at beat's next tick.")
