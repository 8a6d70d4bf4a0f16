"""The arguments of `manage.py events` and `manage.py inbound`."""

from typing import Any

from django.core.management.base import CommandParser

from events_app.dispatch.filters import State
from events_app.filters import Criteria
from events_app.inbound import filters as inbound
from events_app.shared.console import options as alike
from events_app.signals import EventType


def add_to(parser: CommandParser, filters: CommandParser, noun: str) -> Any:
    """Give a command the four actions that both have; answers what more are added to."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    looking = [alike.output(), filters]
    listed = actions.add_parser("list", parents=looking, help=f"{noun}s, the newest first, one a line")
    alike.add_limit(listed)
    one = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    actions.add_parser("show", parents=looking, help=f"everything there is of {one}")
    changing = [*looking, alike.change()]
    actions.add_parser(
        "retry", parents=changing, help=f"call receivers again now, for dead letters and deferred {noun}s"
    )
    replayed = actions.add_parser(
        "replay", parents=changing, help=f"call receivers anew, for {noun}s that are done or dead letters"
    )
    replayed.add_argument(
        "--to", action="append", default=[], metavar="NAME", help="this receiver alone; may be repeated"
    )
    return actions


def add_save(actions: Any) -> None:
    """Give the command for mails one more."""
    saved = actions.add_parser("save", parents=[alike.own()], help="write a mail as an .eml file")
    saved.add_argument("id", metavar="ID", help="the mail's id, or its Message-ID")
    saved.add_argument("file", nargs="?", metavar="FILE", help="a new one; none: the output")
    saved.add_argument("--post", action="store_true", help="all that SendGrid posted, and not the mail in it")


def of_events() -> CommandParser:
    """The filters of events."""
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group("which events", "All that is given must hold.")
    group.add_argument("ids", nargs="*", metavar="ID", help="an event's id, or SendGrid's sg_event_id")
    group.add_argument("--message-id", metavar="ID", help="of the message it happened to")
    group.add_argument("--address", metavar="EMAIL", help="of the recipient, in whatever case")
    alike.add_choices(group, "--state", [state.value for state in State])
    alike.add_choices(group, "--type", [kind.value for kind in EventType])
    _add_common(group)
    return parser


def events(options: dict[str, Any]) -> Criteria:
    """What they ask for."""
    return Criteria(
        ids=tuple(options["ids"]),
        message_id=options["message_id"],
        address=options["address"],
        types=tuple(options["type"]),
        **_common(options),
    )


def of_mails() -> CommandParser:
    """The filters of inbound mails."""
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group("which mails", "All that is given must hold.")
    group.add_argument("ids", nargs="*", metavar="ID", help="a mail's id, or its Message-ID")
    group.add_argument("--address", metavar="EMAIL", help="it is from, or was for, in whatever case")
    group.add_argument("--subject", metavar="TEXT", help="with this in its subject")
    group.add_argument("--answers", metavar="ID", help="that answer this message of ours")
    group.add_argument(
        "--duplicates", action="store_true", help="duplicates: mails that SendGrid had posted before"
    )
    alike.add_choices(group, "--state", [state.value for state in State])
    _add_common(group)
    return parser


def mails(options: dict[str, Any]) -> inbound.Criteria:
    """What they ask for."""
    return inbound.Criteria(
        ids=tuple(options["ids"]),
        address=options["address"],
        subject=options["subject"],
        answers=options["answers"],
        duplicates=options["duplicates"],
        **_common(options),
    )


def _add_common(group: Any) -> None:
    group.add_argument("--receiver", metavar="NAME", help="that failed with it, and is still pending")
    alike.add_times(group, "received")


def _common(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "states": tuple(options["state"]),
        **{name: options[name] for name in ("receiver", "since", "until")},
    }
