"""The operator's command that erases persons, or counts what an erasure would change."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from events_app.personal_data import erasure
from events_app.personal_data.erasure import ErasureFailed, Progress
from events_app.shared.console.command import Actions, Options
from events_app.shared.console.terminal import dump
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.personal_data.person import Person

#: Seconds between two lines of progress.
PROGRESS = 10


class Command(Actions):
    help = (
        "Erase persons, known by their addresses: in events, mails, inbound mails and all further tables. "
        "Without --yes only count what would change."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="a whole address, in any case")
        parser.add_argument("--yes", action="store_true", help="erase; there is no way back")
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")
        parser.set_defaults(action="erase")

    def _erase(self, options: Options) -> None:
        people = [Person(address) for address in options["addresses"]]
        for person in people:
            if not person.is_address:
                raise CommandError(f"{person.written!r} is not an address. Write it as in ann@example.com.")
            person.pseudonym  # noqa: B018 (without a key no dry run either)
        steps = erasure.erase(people) if options["yes"] else erasure.count(people)
        try:
            self._report(steps, options)
        except DatabaseUnavailable as error:
            raise CommandError(f"The database cannot be asked: {error}. Run the erasure again.") from error
        except ErasureFailed as error:
            raise CommandError(str(error)) from error

    def _report(self, steps: Iterable[Progress], options: Options) -> None:
        totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
        notes = []
        looked_at = time.monotonic()
        for step in steps:
            # Zeros too: the operator sees that a place was searched.
            for name, number in step.counts.items():
                totals[step.place][name] += number
            if step.note:
                notes.append(step.note)
            if time.monotonic() > looked_at + PROGRESS:
                looked_at = time.monotonic()
                self.stderr.write(f"{step.place}: {_in_words(totals[step.place])} so far")
        if options["json"]:
            counts: Any = {place: dict(numbers) for place, numbers in totals.items()}
            self.write([dump({"erased": options["yes"], "counts": counts, "notes": notes})])
            return
        self.write(f"{place}: {_in_words(numbers)}" for place, numbers in totals.items())
        self.write(notes)
        if options["yes"]:
            self.stdout.write(
                "Erased. Backups, SendGrid and your own tables may have the person: docs/personal-data.md."
            )
        else:
            self.stdout.write("Nothing was changed. --yes erases.")


def _in_words(numbers: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items()) or "searching"
