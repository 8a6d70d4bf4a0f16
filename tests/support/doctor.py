"""The output of manage.py doctor, read as a person reads it."""

import re
from collections.abc import Callable
from io import StringIO
from typing import NamedTuple

from django.core.management import call_command

#: Changes the URL of the broker.
UseBroker = Callable[[str], None]

_LINE = re.compile(r"  (ok|unknown|advice|warning|error) +(.*)")


class Line(NamedTuple):
    """A line of the output."""

    subject: str
    level: str
    text: str
    advice: str = ""


class Examination(NamedTuple):
    """A run of the command."""

    exit_code: int
    lines: list[Line]
    output: str

    def faults(self, *, ignoring: tuple[str, ...] = ()) -> list[Line]:
        """The warnings and errors, without those of some subjects."""
        return [
            line for line in self.lines if line.level in ("warning", "error") and line.subject not in ignoring
        ]

    def fault(self, subject: str) -> Line:
        """The only warning or error of a subject."""
        (line,) = (line for line in self.faults() if line.subject == subject)
        return line


def examine(*args: str) -> Examination:
    """Run the command in this process."""
    out = StringIO()
    exit_code = 0
    try:
        call_command("doctor", *args, stdout=out, stderr=out)
    except SystemExit as ended:
        exit_code = int(ended.code or 0)
    return Examination(exit_code, read_lines(out.getvalue()), out.getvalue())


def read_lines(output: str) -> list[Line]:
    lines: list[Line] = []
    subject = ""
    for line in output.splitlines():
        if match := _LINE.fullmatch(line):
            lines.append(Line(subject, match[1], match[2]))
        elif line.startswith("           What to do: "):
            lines[-1] = lines[-1]._replace(advice=line.partition(": ")[2])
        elif line and not line.startswith(" "):
            subject = line
    return lines
