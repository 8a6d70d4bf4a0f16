"""The operator's command for suppressed addresses: list, change, import, export, and SendGrid's lists."""

import csv
import io
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, TextIO

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Console, Options, Search
from events_app.shared.console.terminal import attributes, counted
from events_app.shared.database import database_now, slices
from events_app.shared.escaping import one_line, printable
from events_app.shared.moments import parse_moment
from sending_app import account as accounts
from sending_app import changes, filters
from sending_app.api.suppression_lists import ListsFailed, SuppressionLists
from sending_app.conf import DEFAULT_ALIAS
from sending_app.management import sync_report
from sending_app.models import Suppression
from sending_app.suppression import csv_file, manual
from sending_app.suppression.csv_file import Unreadable
from sending_app.suppression.file_import import FileImport
from sending_app.suppression.sync import Sync

#: Bad lines of a file that are listed.
LISTED = 100

_IMPORT = """\
Suppress the addresses of a CSV file in UTF-8: an export of this command, or of SendGrid's console.

The first line names the columns:
  address or email                    required
  reason                              without one of our reasons, --reason decides
  scope                               a stream of mail, or group:N; empty: all mail
  since, created or created_at        a date, a time, or Unix seconds; empty: now
  until                               empty: without end

Bad lines are listed and skipped. Newer words about an address win: an import does not bring back a
suppression that ended after the time in the file.
"""

_SYNC = """\
Compare the suppressions here with SendGrid's lists of an account: bounces, spam reports, invalid emails,
global unsubscribes, and the members of unsubscribe groups. Not the blocks: SendGrid sends to them.

Addresses of SendGrid's lists are suppressed here, from the time of SendGrid's entry.
--push           also change SendGrid's lists: remove the addresses whose suppression an operator ended here
                 later, and add unsubscribes that are missing there
--pull-removals  also end suppressions here whose addresses somebody removed from SendGrid's lists

Without --apply, the differences are only counted. A run that was interrupted is simply run again.
"""


def _state(row: Suppression) -> str:
    if not row.active:
        return "ended"
    return "expired" if row.until is not None and row.until <= datetime.now(UTC) else "active"


class Command(Console):
    help = "Find, add and remove suppressed addresses; import and export them; compare with SendGrid's lists."
    noun = "suppression"
    search = Search(filters.SuppressionCriteria, filters.find_suppressions, lambda _: [])
    columns: ClassVar = {
        "since (UTC)": attrgetter("since"),
        "state": _state,
        "reason": attrgetter("reason"),
        "source": attrgetter("source"),
        "until (UTC)": attrgetter("until"),
        "scope": attrgetter("scope"),
        "address": attrgetter("address"),
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        which = self.filters()
        listing = actions.add_parser(
            "list", parents=[shared_options.output(), which], help="list suppressions, newest first"
        )
        listing.add_argument(
            "--limit", type=shared_options.limit, default=50, help="how many; 0: no limit (default: 50)"
        )
        own = shared_options.own()
        addresses = CommandParser(add_help=False)
        addresses.add_argument("addresses", nargs="+", metavar="ADDRESS")
        dry_run = CommandParser(add_help=False)
        dry_run.add_argument("--dry-run", action="store_true", help="count the rows; change nothing")
        add = actions.add_parser("add", parents=[own, addresses], help="suppress addresses from now on")
        _add_reason(add, "default: blocked", default=Suppression.Reason.BLOCKED)
        add.add_argument("--scope", default="", help="a stream of mail, or group:N (default: all mail)")
        add.add_argument(
            "--until", type=_coming, metavar="TIME", help="end then: 2026-12-24, or after 12h, 30d, 4w"
        )
        remove = actions.add_parser(
            "remove",
            parents=[shared_options.output(), addresses, dry_run],
            help="end the suppressions of addresses",
        )
        _add_reason(remove, "only this reason")
        remove.add_argument("--scope", help='only this scope; "": only all mail')
        importing = actions.add_parser(
            "import",
            parents=[own, dry_run],
            help="suppress the addresses of a CSV file",
            description=_IMPORT,
            formatter_class=RawDescriptionHelpFormatter,
        )
        importing.add_argument("file", metavar="FILE", help="a path; - reads the standard input")
        _add_reason(importing, "of lines without one of our reasons")
        actions.add_parser("export", parents=[own, which], help="write suppressions as CSV")
        sync = actions.add_parser(
            "sync",
            parents=[own],
            help="compare with SendGrid's lists, and carry over what is missing",
            description=_SYNC,
            formatter_class=RawDescriptionHelpFormatter,
        )
        sync.add_argument(
            "--account", default=DEFAULT_ALIAS, help="a mailer or an account in SENDGRID_ACCOUNTS"
        )
        sync.add_argument("--push", action="store_true", help="change SendGrid's lists too")
        sync.add_argument(
            "--pull-removals", action="store_true", help="end here what somebody removed at SendGrid"
        )
        sync.add_argument(
            "--apply", action="store_true", help="make the changes; without it, only count them"
        )

    def filters(self) -> CommandParser:
        parser = CommandParser(add_help=False)
        group = parser.add_argument_group("which suppressions", "Rows must match every filter.")
        group.add_argument("--address", metavar="EMAIL", help="in any case; ann*: begins so")
        shared_options.add_choices(group, "--reason", "reasons", Suppression.Reason)
        group.add_argument("--scope", help='a stream of mail, or group:N; "": all mail')
        shared_options.add_choices(group, "--source", "sources", Suppression.Source)
        group.add_argument("--ended", action="store_true", help="those that have ended, not those that hold")
        return parser

    def light(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows

    def as_json(self, row: Any) -> dict[str, Any]:
        names = ("id", "address", "scope", "reason", "since", "until", "decided_at", "source", "event_id")
        return {**attributes(row, names), "state": _state(row)}

    def _found(self, options: Options) -> "QuerySet[Any]":
        return filters.find_suppressions(self.criteria(options))

    def _add(self, options: Options) -> None:
        try:
            count = manual.suppress(
                options["addresses"], options["reason"], options["scope"], options["until"]
            )
        except ValueError as error:
            raise CommandError(one_line(str(error))) from None
        self.stdout.write(f"Suppressed {count} {'address' if count == 1 else 'addresses'}.")

    def _remove(self, options: Options) -> None:
        rows = Suppression.objects.none()
        missing = []
        for address in options["addresses"]:
            found = filters.suppressions_of(address)
            if options["reason"]:
                found = found.filter(reason=options["reason"])
            if options["scope"] is not None:
                found = found.filter(scope=options["scope"])
            if not found.exists():
                missing.append(address)
            rows |= found
        if missing:
            self.stderr.write(f"No suppression of {one_line(', '.join(missing))} matches.")
        if len(missing) == len(options["addresses"]):
            raise CommandError("Nothing was changed.")
        self.change_rows(changes.remove_suppressions(), rows, options)

    def _export(self, options: Options) -> None:
        rows = (row for part in slices(self._found(options)) for row in part)
        # No escapes for a terminal: an import would not know them. No column has control characters.
        csv.writer(self.stdout, lineterminator="\n").writerows(csv_file.cells(rows))

    # Import

    def _import(self, options: Options) -> None:
        try:
            with _opened(options["file"]) as file:
                self._import_from(file, options)
        except Unreadable as error:
            raise CommandError(str(error)) from None

    def _import_from(self, file: TextIO, options: Options) -> None:
        database = manual.using()
        run = FileImport(database, options["dry_run"])
        try:
            for bad in run.run(csv_file.read_words(file, options["reason"], database_now(database))):
                if bad is None:
                    self._progress(f"{run.lines} lines")
                elif run.bad <= LISTED:
                    self.stderr.write(one_line(f"Line {bad.number}: {bad.why}"))
        finally:
            # After an error too: earlier slices stay.
            verb = "Would suppress" if options["dry_run"] else "Suppressed"
            self.stdout.write(f"{verb} {run.begun} of {counted(run.lines, 'line')}.")
            if run.left_alone:
                self.stdout.write(
                    f"{run.left_alone} left alone: suppressed already, ended later, or named twice."
                )
        if run.bad:
            raise CommandError(f"{counted(run.bad, 'bad line')} skipped.")

    # Sync

    def _sync(self, options: Options) -> None:
        account = accounts.named(options["account"])
        distinct = {known.fingerprint: known for known in (*accounts.usable(), account)}
        lists = {known: SuppressionLists(account, self._say) for known, account in distinct.items()}
        sync = Sync(
            lists=lists[account.fingerprint],
            database=manual.using(),
            apply=options["apply"],
            push=options["push"],
            pull_removals=options["pull_removals"],
            every=list(lists.values()),
        )
        report = None
        try:
            for newer in sync.run():
                if report is not None and newer is not report:
                    self.write(sync_report.lines(report, sync))
                report = newer
                self._progress(f"{report.name}: {report.entries}")
            alone = sync.count_without_list()
        except ListsFailed as error:
            raise CommandError(printable(str(error))) from None
        finally:
            # After an error too: earlier pages are recorded.
            if report is not None:
                self.write(sync_report.lines(report, sync))
        if alone:
            self.stdout.write(
                f"{counted(alone, 'suppression')} of this project alone: SendGrid has no list for blocked "
                "addresses, for scopes of your own, and for suppressions with an end."
            )
        if not options["apply"]:
            self.stdout.write("Nothing was changed. --apply makes the changes.")

    def _say(self, text: str) -> None:
        self.stdout.write(printable(text))
        self.stdout.flush()

    def _progress(self, text: str) -> None:
        if self.stdout.isatty():
            # With \r the next output overwrites this line.
            self.stdout.write(text, ending="\r")
            self.stdout.flush()


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """The file as text. Bytes that are not UTF-8 become half surrogate pairs, which no address may have.

    Raises CommandError.
    """
    how: Any = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(path).open(**how)) if path != "-" else None
        except OSError as error:
            raise CommandError(f"The file cannot be read: {error}.") from error
        yield file or io.TextIOWrapper(sys.stdin.buffer, **how)


def _add_reason(parser: CommandParser, meaning: str, default: Suppression.Reason | None = None) -> None:
    values: Sequence[str] = Suppression.Reason.values
    parser.add_argument(
        "--reason",
        type=_reason,
        default=default,
        metavar="REASON",
        help=f"{', '.join(values)} ({meaning})",
    )


def _reason(text: str) -> Suppression.Reason:
    try:
        return Suppression.Reason(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no reason. There are: {', '.join(Suppression.Reason.values)}."
        ) from None


def _coming(text: str) -> datetime:
    """A time to come: a date, a time, or the time after a span such as 30d."""
    try:
        time = parse_moment(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time. Write a date (2026-12-24, its beginning in UTC), a time "
            "(2026-12-24T18:00, in UTC) or a span (12h, 30d, 4w)."
        ) from None
    if "-" not in text:  # a span, which `parse_moment` reads as an age
        now = timezone.now()
        time = now + (now - time)
    return time
