"""The arguments of the operator's command."""

from argparse import SUPPRESS, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from events_app import search
from events_app.search import Criteria, State
from events_app.signals import EventType


def add_to(parser: CommandParser) -> None:
    """Give the command its five actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser(
        "list", parents=[_output(), _filters()], help="events, the newest first, one a line"
    )
    listed.add_argument("--limit", type=_limit, default=50, help="how many; 0: all (default: 50)")
    actions.add_parser("show", parents=[_output(), _filters()], help="everything there is of an event")
    changing = [_output(), _filters(), _change()]
    actions.add_parser("retry", parents=changing, help="have dead events, and those put off, tried again now")
    replayed = actions.add_parser(
        "replay", parents=changing, help="have receivers called anew with events that are done or dead"
    )
    replayed.add_argument(
        "--to", action="append", default=[], metavar="NAME", help="this receiver alone; may be repeated"
    )
    actions.add_parser("status", parents=[_output()], help="what waits, what failed, what was counted")


def criteria(options: dict[str, Any]) -> Criteria:
    """What the filters ask for."""
    return Criteria(
        ids=tuple(options["ids"]),
        message_id=options["message_id"],
        address=options["address"],
        states=tuple(options["state"]),
        types=tuple(options["type"]),
        receiver=options["receiver"],
        since=options["since"],
        until=options["until"],
    )


def _output() -> CommandParser:
    """Django's own options again, so that they may stand after the action too, and ours."""
    parser = CommandParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
    return parser


def _filters() -> CommandParser:
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group("which events", "All that is given must hold.")
    group.add_argument("ids", nargs="*", metavar="ID", help="an event's id, or SendGrid's sg_event_id")
    group.add_argument("--message-id", metavar="ID", help="of the message it happened to")
    group.add_argument("--address", metavar="EMAIL", help="of the recipient, in whatever case")
    group.add_argument(
        "--state",
        action="append",
        default=[],
        choices=[state.value for state in State],
        help="may be repeated",
    )
    group.add_argument(
        "--type",
        action="append",
        default=[],
        choices=[kind.value for kind in EventType],
        metavar="TYPE",
        help=f"may be repeated: {', '.join(EventType)}",
    )
    group.add_argument("--receiver", metavar="NAME", help="that failed with it, and is still owed it")
    when = "2026-07-14, 2026-07-14T06:30 (UTC), or an age: 90m, 2h, 3d, 1w"
    group.add_argument("--since", type=_moment, metavar="TIME", help=f"received then or later: {when}")
    group.add_argument("--until", type=_moment, metavar="TIME", help="received before then")
    return parser


def _change() -> CommandParser:
    parser = CommandParser(add_help=False)
    parser.add_argument("--all", action="store_true", help="needed where no filter is given")
    parser.add_argument("--dry-run", action="store_true", help="say what would be taken, and change nothing")
    return parser


def _moment(text: str) -> datetime:
    try:
        return search.moment(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is no number. Write how many events to list, or 0 for all.")
    return int(text)
