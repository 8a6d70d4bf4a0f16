"""The bases of operators' commands: errors, lists, pages, and changes of many rows."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain, islice
from typing import Any, ClassVar, NamedTuple, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.db.models import Max, QuerySet

from events_app.shared import database
from events_app.shared.changes import Change, Ids, Preview
from events_app.shared.console import options as shared_options
from events_app.shared.console.terminal import Table, counted, dump
from events_app.shared.database import slices
from events_app.shared.escaping import one_line, printable

Options: TypeAlias = dict[str, Any]

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


class Actions(BaseCommand):
    """A command of several actions. The method of an action has its name, after an underscore."""

    # A broken deployment must not stop the command that shows the cause.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action. Errors of servers and settings become CommandErrors."""
        try:
            getattr(self, f"_{options['action']}")(options)
            self.stdout.flush()
        except (DatabaseError, InterfaceError) as error:
            message = one_line(f"{type(error).__name__}: {error}".partition("\n")[0])
            hint = " (Did manage.py migrate run?)" if database.lacks_migrations(error) else ""
            raise CommandError(f"The database cannot be asked: {message}{hint}") from error
        except ImproperlyConfigured as error:
            raise CommandError(one_line(str(error))) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Changes made so far stay.", returncode=130) from None
        except BrokenPipeError:
            # The reader of our output, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(printable(line))

    def width(self) -> int | None:
        """The width of the terminal; None for a pipe or a file."""
        return shutil.get_terminal_size().columns if self.stdout.isatty() else None


class Console(Actions):
    """A command whose actions find, show and change rows."""

    noun: ClassVar[str]
    search: ClassVar[Search]
    #: The relation of a row that lists and pages need.
    related: ClassVar[str]
    #: Large columns that lists and dry runs do not need.
    large: ClassVar[tuple[str, ...]] = ()
    #: The cells of a row in a list, by header. The last one tells why the row is in its state.
    columns: ClassVar[Mapping[str, Callable[[Any], object]]]

    def filters(self) -> CommandParser:
        raise NotImplementedError

    def light(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows.select_related(self.related).defer(*self.large)

    def full(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        """The rows with the columns that pages need."""
        return rows.select_related(self.related)

    def as_json(self, row: Any) -> object:
        raise NotImplementedError

    def page(self, row: Any, options: Options) -> Iterable[str]:
        raise NotImplementedError

    def page_as_json(self, row: Any, options: Options) -> object:
        raise NotImplementedError

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

    def criteria(self, options: Options) -> Any:
        """The command's criteria with the filters' arguments."""
        arguments = {field.name: options[field.name] for field in fields(self.search.Criteria)}
        lists = {name: tuple(value) for name, value in arguments.items() if isinstance(value, list)}
        return self.search.Criteria(**{**arguments, **lists})

    def counted(self, count: int) -> str:
        return counted(count, self.noun)

    def no_such(self, ids: Sequence[str]) -> str:
        return f"No {self.noun} has the id {one_line(', '.join(ids))}."

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
                self.write(["\n" * bool(count) + "\n".join(self.page(row, options))])
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
        self.change_rows(change, self._found(options), options)

    def change_rows(self, change: Change, rows: "QuerySet[Any]", options: Options) -> None:
        """Apply the change to these rows, or only count them in a dry run."""
        # No rows of later: a mail that is sent again becomes a row that may match as well.
        last = rows.model._default_manager.using(rows.db).aggregate(last=Max("pk"))["last"]
        rows = rows.filter(pk__lte=last) if last is not None else rows.none()
        matched = rows.count()
        slices_of_ids = self._ids(change, rows.filter(change.only), options)
        if options["dry_run"]:
            self._write_preview(change, change.preview(slices_of_ids), matched, options)
            return
        run = change.run(slices_of_ids, matched)
        try:
            run.apply()
        finally:
            # After an error too: earlier slices are changed, and the operator must know.
            counts = {"matched": matched, **run.counts}
            self.write([dump(counts)] if options["json"] else run.report())

    def _ids(self, change: Change, rows: "QuerySet[Any]", options: Options) -> Iterator[Ids]:
        """The ids of the rows in slices. On a terminal, the progress is written after each slice."""
        size = change.size or database.SLICE
        total, done = rows.count(), 0
        for part in slices(rows.only("pk"), size):
            yield [row.pk for row in part]
            done += len(part)
            if self.stdout.isatty() and total > size and not options["json"]:
                # With \r the next output overwrites this line.
                progress = f"{min(100 * done // total, 100)}% of {change.target.counted(total)}"
                self.stdout.write(progress, ending="\r")
                self.stdout.flush()

    def _write_preview(self, change: Change, preview: Preview, matched: int, options: Options) -> None:
        ordered = sorted(preview.groups.items(), key=lambda group: (-group[1], group[0]))
        names, nouns = change.target.groups, f"{change.target.noun}s"
        if options["json"]:
            as_json = [{**dict(zip(names, group, strict=True)), nouns: count} for group, count in ordered]
            totals = {"matched": matched, f"would_{change.verb}": preview.would_change}
            if change.count_reach:
                totals["recipients"] = preview.reach
            self.stdout.write(dump({"dry_run": True, **totals, "groups": as_json}))
            return
        self.write(Table((nouns, *names)).lines([(count, *group) for group, count in ordered]))
        if preview.reach:
            self.stdout.write(f"{counted(preview.reach, 'recipient')} would get a mail (again).")
        totals_in_words = f"{preview.would_change} of {change.target.counted(matched)}"
        self.stdout.write(f"Would {change.verb} {totals_in_words}. Nothing was changed.")
