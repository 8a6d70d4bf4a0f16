"""The arguments of `manage.py outbox`."""

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import CommandParser

from events_app.shared.console import options as alike
from sending_app.filters import Criteria
from sending_app.models import Mail

_SETTLE = """\
Say whether SendGrid has mails of which nobody knows (unknown, parked). Look first: `show` has
all that is known, and SendGrid's own Activity page may know the mail by its recipient.

--sent      They are accepted, and never posted again. If SendGrid does not have them after all,
            they are lost.
--not-sent  They are posted again, now. If SendGrid has them after all, their recipients get
            them TWICE.
"""


def add_to(parser: CommandParser) -> None:
    """Give the command its six actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    looking = [alike.output(), _filters()]
    listed = actions.add_parser("list", parents=looking, help="mails, the newest first, one a line")
    alike.add_limit(listed)
    shown = actions.add_parser(
        "show", parents=looking, help="everything there is of a mail, with what happened to it"
    )
    shown.add_argument("--all", action="store_true", help="all recipients and events, not the first 50")
    changing = [*looking, alike.change()]
    actions.add_parser("retry", parents=changing, help="post failed and deferred mails now")
    actions.add_parser("cancel", parents=changing, help="give up mails that wait, or are unknown or parked")
    settled = actions.add_parser(
        "settle",
        parents=changing,
        help="say whether SendGrid has mails of which nobody knows",
        description=_SETTLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    which = settled.add_mutually_exclusive_group(required=True)
    which.add_argument("--sent", action="store_true", help="SendGrid has them")
    which.add_argument("--not-sent", action="store_true", help="it does not: post them again")
    actions.add_parser("status", parents=[alike.output()], help="what waits, what failed, who is paused")


def criteria(options: dict[str, Any]) -> Criteria:
    """What the filters ask for."""
    return Criteria(
        ids=tuple(options["ids"]),
        message=options["message"],
        message_id=options["message_id"],
        address=options["address"],
        subject=options["subject"],
        mailer=options["mailer"],
        lane=options["lane"],
        states=tuple(options["state"]),
        sent_twice=options["sent_twice"],
        since=options["since"],
        until=options["until"],
    )


def _filters() -> CommandParser:
    parser = CommandParser(add_help=False)
    group = parser.add_argument_group("which mails", "All that is given must hold.")
    group.add_argument(
        "ids", nargs="*", metavar="ID", help="a mail's number here, its message id, or its X-Message-Id"
    )
    group.add_argument("--message", type=int, metavar="NUMBER", help="all mails (batches) of this message")
    group.add_argument(
        "--message-id", metavar="ID", help="with this id, as events and anymail_status have it"
    )
    group.add_argument("--address", metavar="EMAIL", help="to this recipient, in whatever case")
    group.add_argument("--subject", metavar="TEXT", help="with this in its subject")
    alike.add_choices(group, "--state", [state.value for state in Mail.State])
    group.add_argument("--lane", choices=[lane.value for lane in Mail.Lane])
    group.add_argument("--mailer", metavar="ALIAS", help="that this mailer sends")
    group.add_argument("--sent-twice", action="store_true", help="that SendGrid has accepted twice")
    alike.add_times(group, "sent here")
    return parser
