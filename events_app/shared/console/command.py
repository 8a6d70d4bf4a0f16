"""What operators' commands do alike: how they fail, list, show, and change many rows."""

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import click
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.db.models import Model, QuerySet

from events_app.shared import database as sliced
from events_app.shared.console.terminal import Table, columns, counted, dump
from events_app.shared.database import slices

Row = TypeVar("Row", bound=Model)
Options: TypeAlias = dict[str, Any]

#: What SQLite and PostgreSQL say of a table or column they do not have.
_MISSING = re.compile(r"no such (table|column)|(relation|column) .* does not exist")

#: Rows that are shown in full are read so many at a time; one can have megabytes.
IN_FULL = 20


class Console(BaseCommand):
    """A command of several actions: each is a method of its name, with an underscore before it."""

    # Who looks at a deployment that is broken is not to be stopped by what is broken about it.
    requires_system_checks = ()

    #: One of what it is about.
    noun: ClassVar[str]

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is asked; whatever can go wrong outside of us is a CommandError."""
        try:
            getattr(self, f"_{options['action']}")(options)
            self.stdout.flush()
        except (DatabaseError, InterfaceError) as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            hint = " (Did manage.py migrate run?)" if _MISSING.search(said) else ""
            raise CommandError(f"The database cannot be asked: {said}{hint}") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was done so far stays done.", returncode=130) from None
        except BrokenPipeError:
            # Whoever reads our output, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)

    def width(self) -> int | None:
        """The columns of the terminal; None where it is none."""
        return shutil.get_terminal_size().columns if self.stdout.isatty() else None

    # Many

    def write_list(
        self,
        rows: "QuerySet[Row]",
        options: Options,
        table: Table,
        cells: Callable[[Row], Sequence[str]],
        as_json: Callable[[Row], object],
    ) -> None:
        """The newest rows, one a line."""
        limit = options["limit"] or sys.maxsize
        parts = slices(rows, min(limit, sliced.SLICE), newest_first=True)
        found = islice(chain.from_iterable(parts), limit)
        if options["json"]:
            self.write(dump(as_json(row)) for row in found)
            return
        count = 0
        while part := list(islice(found, sliced.SLICE)):
            count += len(part)
            self.write(table.lines([cells(row) for row in part]))
        if not count:
            self.stdout.write(f"No {self.noun} matches.")
            return
        total = rows.count()
        more = f"The newest {count} of {self.counted(total)}; --limit 0 lists all."
        self.stdout.write(more if total > count else self.counted(count))

    def write_pages(
        self,
        rows: "QuerySet[Row]",
        options: Options,
        page: Callable[[Row], Iterable[str]],
        as_json: Callable[[Row], object],
        missing: Callable[[], list[str]],
    ) -> None:
        """Everything there is of each row; `missing` are the ids asked for that none has."""
        shown = 0
        for row in chain.from_iterable(slices(rows, IN_FULL)):
            if options["json"]:
                self.stdout.write(dump(as_json(row)))
            else:
                self.stdout.write("\n" * bool(shown) + "\n".join(page(row)))
            shown += 1
        if nowhere := missing():
            raise CommandError(self.without(nowhere))
        if not shown:
            raise CommandError(f"No {self.noun} matches.")

    def require(self, asked: bool, or_all: bool = False) -> None:
        """Nothing asked for must not mean everything."""
        if not asked:
            where = f"Say which {self.noun}s: an id, or one of the filters in --help."
            raise CommandError(f"{where} Or --all." if or_all else where)

    def counted(self, count: int) -> str:
        return counted(count, self.noun)

    def warn_of(self, missing: Sequence[str]) -> None:
        """Name the ids that were asked for and that nothing has."""
        if missing:
            self.stderr.write(self.without(missing))

    def without(self, missing: Sequence[str]) -> str:
        """In words, the ids that nothing has."""
        return f"No {self.noun} has the id {', '.join(missing)}."

    # To change

    def pks(self, rows: "QuerySet[Row]", options: Options, size: int | None = None) -> Iterator[list[int]]:
        """The ids of rows, a slice at a time, with a bar that shows how far it has got."""
        length, size = rows.count(), size or sliced.SLICE
        parts = ([row.pk for row in part] for part in slices(rows.only("pk"), size))
        if options["json"] or length <= size or not self.stdout.isatty():
            yield from parts
            return
        with click.progressbar(length=length, file=cast(Any, self.stdout)._out) as bar:
            for part in parts:
                yield part
                bar.update(len(part))

    def write_dry_run(
        self, what: str, groups: Counter[Any], names: Mapping[str, str], matched: int, options: Options
    ) -> None:
        """Say what would be taken. A group is a tuple of what those in it have under the names.

        These are for programs, each with the one for people.
        """
        rows = sorted(groups.items(), key=lambda group: (-group[1], group[0]))
        if options["json"]:
            named = [
                {**dict(zip(names, group, strict=True)), f"{self.noun}s": count} for group, count in rows
            ]
            said = {"dry_run": True, "matched": matched, f"would_{what}": groups.total(), "groups": named}
            self.stdout.write(dump(said))
            return
        cells: list[tuple[str | int, ...]] = [
            (count, *(one if isinstance(one, str) else ", ".join(one) for one in group))
            for group, count in rows
        ]
        self.write(columns((f"{self.noun}s", *names.values()), cells))
        self.stdout.write(f"Would {what} {groups.total()} of {self.counted(matched)}. Nothing was changed.")
