"""The arguments of `manage.py events`."""

from typing import Any

from django.core.management.base import CommandParser

from events_app.management import options as alike
from events_app.search import Criteria, State
from events_app.signals import EventType


def add_to(parser: CommandParser) -> None:
    """Give the command its five actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    looking = [alike.output(), _filters()]
    listed = actions.add_parser("list", parents=looking, help="events, the newest first, one a line")
    alike.add_limit(listed)
    actions.add_parser("show", parents=looking, help="everything there is of an event")
    changing = [*looking, alike.change()]
    actions.add_parser("retry", parents=changing, help="have dead events, and those put off, tried again now")
    replayed = actions.add_parser(
        "replay", parents=changing, help="have receivers called anew with events that are done or dead"
    )
    replayed.add_argument(
        "--to", action="append", default=[], metavar="NAME", help="this receiver alone; may be repeated"
    )
    actions.add_parser("status", parents=[alike.output()], help="what waits, what failed, what was counted")


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


def _filters() -> CommandParser:
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group("which events", "All that is given must hold.")
    group.add_argument("ids", nargs="*", metavar="ID", help="an event's id, or SendGrid's sg_event_id")
    group.add_argument("--message-id", metavar="ID", help="of the message it happened to")
    group.add_argument("--address", metavar="EMAIL", help="of the recipient, in whatever case")
    alike.add_choices(group, "--state", [state.value for state in State])
    alike.add_choices(group, "--type", [kind.value for kind in EventType])
    group.add_argument("--receiver", metavar="NAME", help="that failed with it, and is still owed it")
    alike.add_times(group, "received")
    return parser
