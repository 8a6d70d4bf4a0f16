"""Options that mean the same in every operator's command."""

import re
from argparse import SUPPRESS, ArgumentTypeError
from datetime import datetime
from enum import Enum
from typing import Any

from django.core.management.base import CommandParser

from events_app.shared.moments import parse_moment


def own() -> CommandParser:
    """Django's own options, so that they may also stand after the action."""
    parser = CommandParser(add_help=False)
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
    return parser


def output() -> CommandParser:
    parser = own()
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def change() -> CommandParser:
    parser = CommandParser(add_help=False)
    parser.add_argument("--all", action="store_true", help="required if no filter is given")
    parser.add_argument("--dry-run", action="store_true", help="count the rows; change nothing")
    return parser


def filters(nouns: str, ids: str, address: str, states: type[Enum], since: str) -> tuple[CommandParser, Any]:
    """The filters of every command, in a parser and in a group for further ones.

    Each filter is stored under the name of a field of the command's criteria.
    """
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group(f"which {nouns}", "Rows must match every filter.")
    group.add_argument("ids", nargs="*", metavar="ID", help=ids)
    group.add_argument("--address", metavar="EMAIL", help=f"{address}, in any case; ann*: begins so")
    add_choices(group, "--state", "states", states)
    when = "2026-07-14, 2026-07-14T06:30 (UTC), or an age: 90m, 2h, 3d, 1w"
    group.add_argument("--since", type=moment, metavar="TIME", help=f"{since} then or later: {when}")
    group.add_argument("--until", type=moment, metavar="TIME", help=f"{since} before then")
    return parser, group


def add_choices(group: Any, name: str, field: str, choices: type[Enum]) -> None:
    """An option that may be repeated."""
    values = [choice.value for choice in choices]
    # argparse's own list of choices is one word, which no terminal can break.
    group.add_argument(
        name,
        dest=field,
        action="append",
        default=[],
        choices=values,
        metavar=name.strip("-").upper(),
        help=f"may be repeated: {', '.join(values)}",
    )


def moment(text: str) -> datetime:
    """The time of an ISO date or time (in UTC without an offset), or of an age such as 2h.

    Raises ArgumentTypeError with advice on the syntax.
    """
    try:
        return parse_moment(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time. Write a date (2026-07-14, its beginning in UTC), "
            "a time (2026-07-14T06:30, in UTC) or an age (90m, 2h, 3d, 1w)."
        ) from None


def limit(text: str) -> int:
    """A number of rows; 0 means all. Raises ArgumentTypeError with advice on the syntax."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ArgumentTypeError(f"{text!r} is no limit. Write how many to list (1, 50, 1000), or 0 for all.")
    return int(text)
