"""Options that mean the same with every operator's command."""

import re
from argparse import SUPPRESS, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def output() -> CommandParser:
    """Of what is printed."""
    parser = own()
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def own() -> CommandParser:
    """Django's own options again, so that they may stand after the action too."""
    parser = CommandParser(add_help=False)
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
    return parser


def change() -> CommandParser:
    """Of what an operator changes."""
    parser = CommandParser(add_help=False)
    parser.add_argument("--all", action="store_true", help="needed where no filter is given")
    parser.add_argument("--dry-run", action="store_true", help="say what would be taken, and change nothing")
    return parser


def add_limit(parser: CommandParser) -> None:
    parser.add_argument("--limit", type=_limit, default=50, help="how many; 0: all (default: 50)")


def add_choices(group: Any, name: str, choices: list[str]) -> None:
    """An option that may be given several times."""
    # Left to itself, argparse puts all choices into one word, which no terminal can break.
    said = f"may be repeated: {', '.join(choices)}"
    group.add_argument(
        name, action="append", default=[], choices=choices, metavar=name.strip("-").upper(), help=said
    )


def add_times(group: Any, happened: str) -> None:
    """From when to when it `happened`."""
    when = "2026-07-14, 2026-07-14T06:30 (UTC), or an age: 90m, 2h, 3d, 1w"
    group.add_argument("--since", type=_moment, metavar="TIME", help=f"{happened} then or later: {when}")
    group.add_argument("--until", type=_moment, metavar="TIME", help=f"{happened} before then")


def moment(text: str) -> datetime:
    """The time meant by an ISO date or time (UTC unless it says otherwise), or by an age such as 2h.

    Raises ValueError that says what to write.
    """
    age = _AGE.fullmatch(text.strip())
    try:
        if age:
            return timezone.now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        why = (
            f"{text!r} is no time. Write a date (2026-07-14, its beginning in UTC), "
            "a time (2026-07-14T06:30, in UTC) or an age (90m, 2h, 3d, 1w)."
        )
    raise ValueError(why)


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ArgumentTypeError(f"{text!r} is no limit. Write how many to list (1, 50, 1000), or 0 for all.")
    return int(text)
