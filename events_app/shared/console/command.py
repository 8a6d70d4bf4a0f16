"""The base of operators' commands: errors, lists, pages, and changes of many rows."""

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from typing import Any, ClassVar, NamedTuple, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.db.models import Q, QuerySet

from events_app.shared import database
from events_app.shared.console import options as shared_options
from events_app.shared.console.terminal import Table, counted, dump
from events_app.shared.database import slices

Options: TypeAlias = dict[str, Any]

#: Errors of SQLite and PostgreSQL about a missing table or column.
_MISSING = re.compile(r"no such (table|column)|(relation|column) .* does not exist")

#: Rows of a page are read in slices of this size: a row can have megabytes.
IN_FULL = 20


class Search(NamedTuple):
    """How a command finds its rows."""

    #: The dataclass of all filters.
    Criteria: type[Any]
    #: Returns the rows that match the criteria.
    find: "Callable[[Any], QuerySet[Any]]"
    #: Returns the ids that no row has.
    missing: Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Change:
    """A change of many rows, in words and functions."""

    verb: str
    #: The participle, which is also the name of its count.
    done: str
    #: Finds the rows that would change, among those of some ids.
    preview: "Callable[[Sequence[int]], QuerySet[Any]]"
    #: Changes the rows of some ids, and counts them by outcome.
    apply: Callable[[Sequence[int]], Counter[str]]
    #: By the name of a count: why its rows were left alone.
    left_alone: Mapping[str, str]
    #: Why the remaining rows did not change.
    otherwise: str = ""
    #: Rows outside of this condition cannot change.
    only: Q = Q()  # noqa: RUF009 (nothing changes it)
    #: Rows that change in one transaction; None: the usual number.
    size: int | None = None
    #: Functions that wake workers for the changed rows.
    wakes: Sequence[Callable[[], object]] = ()
    warning: str = ""


class Console(BaseCommand):
    """A command of several actions. The method of an action has its name, after an underscore."""

    # A broken deployment must not stop the command that shows the cause.
    requires_system_checks = ()

    noun: ClassVar[str]
    search: ClassVar[Search]
    #: The relation of a row that lists and pages need.
    related: ClassVar[str]
    #: Large columns that lists and dry runs do not need.
    large: ClassVar[tuple[str, ...]] = ()
    #: The cells of a row in a list, by header. The last one tells why the row is in its state.
    columns: ClassVar[Mapping[str, Callable[[Any], object]]]
    #: A dry run counts rows by these values, each under its name in JSON.
    groups: ClassVar[Mapping[str, Callable[[Any], object]]]

    def filters(self) -> CommandParser:
        raise NotImplementedError

    def light(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows.select_related(self.related).defer(*self.large)

    def full(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        """The rows with the columns that pages need."""
        return rows.select_related(self.related)

    def group_counts(self, rows: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
        """Count the rows by the values of `groups`."""
        return Counter(tuple(name(row) for name in self.groups.values()) for row in self.light(rows))

    def as_json(self, row: Any) -> object:
        raise NotImplementedError

    def page(self, row: Any, options: Options) -> Iterable[str]:
        raise NotImplementedError

    def page_as_json(self, row: Any, options: Options) -> object:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action. Errors of servers and settings become CommandErrors."""
        try:
            getattr(self, f"_{options['action']}")(options)
            self.stdout.flush()
        except (DatabaseError, InterfaceError) as error:
            message = f"{type(error).__name__}: {error}".partition("\n")[0]
            hint = " (Did manage.py migrate run?)" if _MISSING.search(message) else ""
            raise CommandError(f"The database cannot be asked: {message}{hint}") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Changes made so far stay.", returncode=130) from None
        except BrokenPipeError:
            # The reader of our output, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def add_actions(self, parser: CommandParser) -> tuple[Any, list[CommandParser]]:
        """Add list and show. Return the actions, and the parents of further actions with filters."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        parents = [shared_options.output(), self.filters()]
        listing = actions.add_parser(
            "list", parents=parents, help=f"list {self.noun}s in one line each, newest first"
        )
        listing.add_argument(
            "--limit",
            type=shared_options.limit,
            default=50,
            help="how many; 0: no limit (default: 50)",
        )
        actions.add_parser("show", parents=parents, help=f"show {self.noun}s in full")
        return actions, parents

    def write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)

    def width(self) -> int | None:
        """The width of the terminal; None for a pipe or a file."""
        return shutil.get_terminal_size().columns if self.stdout.isatty() else None

    def criteria(self, options: Options) -> Any:
        """The command's criteria with the filters' arguments."""
        arguments = {field.name: options[field.name] for field in fields(self.search.Criteria)}
        lists = {name: tuple(value) for name, value in arguments.items() if isinstance(value, list)}
        return self.search.Criteria(**{**arguments, **lists})

    def counted(self, count: int) -> str:
        return counted(count, self.noun)

    def no_such(self, ids: Sequence[str]) -> str:
        return f"No {self.noun} has the id {', '.join(ids)}."

    # Look

    def _list(self, options: Options) -> None:
        rows = self.light(self._found(options))
        limit = options["limit"] or sys.maxsize
        parts = slices(rows, min(limit, database.SLICE), newest_first=True)
        newest = islice(chain.from_iterable(parts), limit)
        if options["json"]:
            self.write(dump(self.as_json(row)) for row in newest)
            return
        table = Table(list(self.columns), self.width())
        count = 0
        while part := list(islice(newest, database.SLICE)):
            count += len(part)
            self.write(table.lines([[cell(row) for cell in self.columns.values()] for row in part]))
        total = rows.count()
        if not count:
            self.stdout.write(f"No {self.noun} matches.")
        elif total > count:
            self.stdout.write(f"The newest {count} of {self.counted(total)}; --limit 0 lists all.")
        else:
            self.stdout.write(self.counted(count))

    def _show(self, options: Options) -> None:
        criteria = self.criteria(options)
        self._require(not criteria.is_empty(), "")
        rows = self.full(self.search.find(criteria))
        count = 0
        for row in chain.from_iterable(slices(rows, IN_FULL)):
            if options["json"]:
                self.stdout.write(dump(self.page_as_json(row, options)))
            else:
                self.stdout.write("\n" * bool(count) + "\n".join(self.page(row, options)))
            count += 1
        if missing := self.search.missing(criteria.ids):
            raise CommandError(self.no_such(missing))
        if not count:
            raise CommandError(f"No {self.noun} matches.")

    def _found(self, options: Options) -> "QuerySet[Any]":
        """The rows of the filters. Warn of missing ids."""
        criteria = self.criteria(options)
        if missing := self.search.missing(criteria.ids):
            self.stderr.write(self.no_such(missing))
        rows: QuerySet[Any] = self.search.find(criteria)
        return rows

    def _require(self, filtered: bool, hint: str) -> None:
        if not filtered:  # no filter must not mean every row
            raise CommandError(f"Say which {self.noun}s: an id, or one of the filters in --help.{hint}")

    # Change

    def apply_change(self, change: Change, options: Options) -> None:
        """Apply the change to the rows of the filters, or only count the rows of a dry run."""
        self._require(not self.criteria(options).is_empty() or options["all"], " Or --all.")
        rows = self._found(options)
        counts = Counter(matched=rows.count(), **dict.fromkeys((change.done, *change.left_alone), 0))
        slices_of_ids = self._ids(rows.filter(change.only), change.size or database.SLICE, options)
        if options["dry_run"]:
            groups: Counter[tuple[object, ...]] = Counter()
            for ids in slices_of_ids:
                groups += self.group_counts(change.preview(ids))
            self._write_groups(change, groups, counts["matched"], options)
            return
        try:
            for ids in slices_of_ids:
                counts.update(change.apply(ids))
        finally:
            # After an error too: earlier slices are changed. Workers must wake, and the operator must know.
            if counts[change.done]:
                for wake in change.wakes:
                    wake()
            self.write([dump(counts)] if options["json"] else self._report(change, counts))

    def _ids(self, rows: "QuerySet[Any]", size: int, options: Options) -> Iterator[list[int]]:
        """The ids of the rows in slices. On a terminal, the progress is written after each slice."""
        total, done = rows.count(), 0
        for part in slices(rows.only("pk"), size):
            yield [row.pk for row in part]
            done += len(part)
            if self.stdout.isatty() and total > size and not options["json"]:
                # With \r the next output overwrites this line.
                self.stdout.write(f"{min(100 * done // total, 100)}% of {self.counted(total)}", ending="\r")
                self.stdout.flush()

    def _write_groups(self, change: Change, groups: Counter[Any], matched: int, options: Options) -> None:
        ordered = sorted(groups.items(), key=lambda group: (-group[1], group[0]))
        nouns, would_change = f"{self.noun}s", groups.total()
        if options["json"]:
            as_json = [
                {**dict(zip(self.groups, group, strict=True)), nouns: count} for group, count in ordered
            ]
            totals = {"matched": matched, f"would_{change.verb}": would_change}
            self.stdout.write(dump({"dry_run": True, **totals, "groups": as_json}))
            return
        self.write(Table((nouns, *self.groups)).lines([(count, *group) for group, count in ordered]))
        totals_in_words = f"{would_change} of {self.counted(matched)}"
        self.stdout.write(f"Would {change.verb} {totals_in_words}. Nothing was changed.")

    def _report(self, change: Change, counts: Counter[str]) -> Iterator[str]:
        matched, done = counts["matched"], counts[change.done]
        yield f"{change.done.capitalize()} {done} of {self.counted(matched)}."
        for name, reason in change.left_alone.items():
            if counts[name]:
                yield f"{counts[name]} left alone: {reason}."
        unchanged = matched - (counts.total() - matched)
        if change.otherwise and unchanged > 0:  # rows may have changed since they were counted
            yield f"{unchanged} {change.otherwise}."
        if change.wakes and done:
            yield "A worker takes them up now, or at beat's next tick."
        if change.warning and done:
            yield change.warning
