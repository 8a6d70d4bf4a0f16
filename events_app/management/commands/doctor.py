"""Examine the deployment: print the facts, and advice under every fault."""

import shutil
import textwrap
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from events_app.monitoring.examination import examine, has_line, summarize, word_of
from events_app.shared import mail_probe
from events_app.shared.console.terminal import dump
from events_app.shared.escaping import one_line
from events_app.shared.facts import Level, Reading

#: Columns before a sentence: two, the longest word, and two.
INDENT = " " * 11


class Command(BaseCommand):
    help = (
        "Examine the configuration, the servers, the workers and the account at SendGrid, and say what to do "
        "about each fault. Exit status: 1 with an error, else 0, also with warnings."
    )
    # A broken deployment must not stop the command that shows the cause.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document, for programs")
        parser.add_argument(
            "--level",
            choices=[level.word for level in Level],
            default=Level.OK.word,
            help="print nothing better than this level (default: ok, which prints all)",
        )
        parser.add_argument(
            "--mail-to",
            type=_address,
            metavar="ADDRESS",
            help="send a real mail to this address by the default mailer, and follow it to its first event",
        )
        parser.add_argument(
            "--wait",
            type=_seconds,
            default=120,
            metavar="SECONDS",
            help="follow that mail for so long (default: 120; SendGrid posts events after 30 and more)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        least = Level[options["level"].upper()]
        readings: list[Reading] = []
        subject = None
        for reading in self._examine(options["mail_to"], options["wait"]):
            readings.append(reading)
            if options["json"] or reading.level < least or not has_line(reading):
                continue
            self._show_progress("")  # of a longer line the end would stay
            if reading.subject != subject:
                self.stdout.write(f"{'' if subject is None else chr(10)}{reading.subject}")
                subject = reading.subject
            self.stdout.write("\n".join(self._lines(reading)))
            self.stdout.flush()
        if options["json"]:
            facts = [_as_json(reading) for reading in readings if reading.level >= least]
            self.stdout.write(dump({"summary": summarize(readings), "facts": facts}))
        else:
            self.stdout.write(f"{'' if subject is None else chr(10)}{summarize(readings)}")
        if any(reading.level == Level.ERROR for reading in readings):
            raise SystemExit(1)

    def _examine(self, address: str | None, seconds: int) -> Iterable[Reading]:
        self._show_progress("Examining; each server has a few seconds to answer.")
        readings = examine()
        if address is None:
            return readings
        if mail_probe.probe is None:
            raise CommandError("--mail-to needs sending_app in INSTALLED_APPS.")
        return chain(readings, mail_probe.probe(address, seconds, self._show_progress))

    def _show_progress(self, line: str) -> None:
        """Write the line to a terminal. The next output overwrites the line."""
        if self.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1  # a longer line would wrap
            self.stderr.write(line[:width].ljust(width), self.style.NOTICE, "\r")
            self.stderr.flush()

    def _lines(self, reading: Reading) -> Iterator[str]:
        """One line into a pipe, for searches; on a terminal as many lines as the width needs."""
        width = shutil.get_terminal_size().columns - len(INDENT) if self.stdout.isatty() else None
        first, *further = _wrapped(reading.text, width)
        word = f"  {word_of(reading):<9}"
        styles = {Level.WARNING: self.style.WARNING, Level.ERROR: self.style.ERROR}
        yield styles.get(reading.level, str)(word) + first
        if reading.level > Level.OK and reading.advice:
            further += _wrapped(f"What to do: {reading.advice}", width)
        yield from (INDENT + line for line in further)


def _wrapped(text: str, width: int | None) -> list[str]:
    line = one_line(text)
    if width is None:
        return [line]
    return textwrap.wrap(line, max(width, 20), break_long_words=False, break_on_hyphens=False)


def _as_json(reading: Reading) -> dict[str, Any]:
    return {
        "subject": reading.subject,
        "name": reading.fact.name,
        "labels": dict(zip(reading.fact.labels, reading.labels, strict=True)),
        "value": reading.value,
        "level": reading.level.word,
        "text": reading.text,
        "advice": reading.advice,
    }


def _address(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError:
        raise ArgumentTypeError("not a mail address, such as ops@example.com") from None
    return text


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 3600:
        raise ArgumentTypeError("must be a whole number of seconds, from 1 to 3600")
    return int(text)
