"""The operator's command for the outbox: find, show and count mails; change and resend them."""

import uuid
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser
from django.db.models import OuterRef, QuerySet, Subquery

from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Console, Options, Search
from events_app.shared.console.terminal import counted, dump
from events_app.shared.database import filter_columns
from sending_app import changes, filters, hourly_counts
from sending_app.management import status
from sending_app.management.mail_page import MailPage, mail_as_json
from sending_app.models import Mail, OpenCircuit, Recipient

#: Recipients and events on a page without --all.
FIRST = 50

_SETTLE = """\
Say whether SendGrid has mails in the states unknown and parked. First look at `show`, and at
SendGrid's own Activity page, which may know the mail by its recipient.

--sent      They are accepted, and never posted again. If SendGrid does not have them after all,
            they are lost.
--not-sent  They are posted again, now. If SendGrid has them after all, their recipients get
            them TWICE.
"""


class Command(Console):
    help = "Find and show the mails of the outbox; retry, cancel, park, settle and resend mails."
    noun = "mail"
    search = Search(filters.MailCriteria, filters.find_mails, filters.missing_mails)
    related = "message"
    large = ("log", "personalizations", "message__content")
    columns: ClassVar = {
        "id": lambda row: str(row.pk),
        "sent here (UTC)": attrgetter("message.created_at"),
        "state": attrgetter("state"),
        "lane": attrgetter("lane"),
        "mailer": attrgetter("alias"),
        "to": attrgetter("recipient_count"),
        "tries": attrgetter("attempts"),
        "mail": lambda mail: ": ".join(filter(None, (mail.first, mail.message.subject))),
        "why": attrgetter("error"),
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions, parents = self.add_actions(parser)
        every = "show all recipients and events, not only the first 50"
        actions.choices["show"].add_argument("--all", action="store_true", help=every)
        parents = [*parents, shared_options.change()]
        actions.add_parser("retry", parents=parents, help="post failed, rejected and deferred mails now")
        actions.add_parser("cancel", parents=parents, help="give up waiting, unknown and parked mails")
        actions.add_parser("park", parents=parents, help="post no waiting and unknown mails until settled")
        settle = actions.add_parser(
            "settle",
            parents=parents,
            help="say whether SendGrid has unknown and parked mails",
            description=_SETTLE,
            formatter_class=RawDescriptionHelpFormatter,
        )
        answer = settle.add_mutually_exclusive_group(required=True)
        answer.add_argument("--sent", action="store_true", help="SendGrid has the mails")
        answer.add_argument("--not-sent", action="store_true", help="it does not: post the mails again")
        actions.add_parser("resend", parents=parents, help="send mails again, as new mails with new ids")
        probe_parents = [shared_options.output(), shared_options.change()]
        probe = actions.add_parser("probe", parents=probe_parents, help="try paused accounts now")
        probe.add_argument("--mailer", metavar="ALIAS", help="the mailer that uses the account")
        actions.add_parser("recount", help="count all accepted mails anew for charts, after an upgrade")
        status_help = "show what waits, what failed, and paused accounts"
        actions.add_parser("status", parents=[shared_options.output()], help=status_help)

    def filters(self) -> CommandParser:
        ids = "a mail's number here, its message id, or its X-Message-Id"
        parser, group = shared_options.filters("mails", ids, "a recipient", Mail.State, since="sent here")
        group.add_argument("--message", type=int, metavar="NUMBER", help="the mails (batches) of a message")
        group.add_argument(
            "--message-id", metavar="ID", help="the message id in anymail_status and in events"
        )
        group.add_argument("--subject", metavar="TEXT", help="the subject contains this text")
        shared_options.add_choices(group, "--outcome", "outcomes", filters.RecipientOutcome)
        group.add_argument("--tag", metavar="TAG", help="the message has this tag")
        group.add_argument(
            "--metadata", type=_metadata, metavar="KEY=VALUE", help="the message has this metadata"
        )
        group.add_argument("--lane", choices=[lane.value for lane in Mail.Lane])
        group.add_argument("--mailer", metavar="ALIAS", help="the mailer that sends the mail")
        group.add_argument("--sent-twice", action="store_true", help="SendGrid has accepted the mail twice")
        return parser

    def light(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        first = Recipient.objects.filter(mail=OuterRef("pk")).order_by("pk").values("address")[:1]
        light: QuerySet[Any] = super().light(rows).annotate(first=Subquery(first))
        return light

    def full(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        # Pages show no personalizations. All mails of a message share the content: a page reads it by itself.
        full: QuerySet[Any] = super().full(rows).defer("personalizations", "message__content")
        return full

    def as_json(self, mail: Any) -> dict[str, Any]:
        return {**mail_as_json(mail), "first_recipient": mail.first}

    def page_as_json(self, mail: Mail, options: Options) -> dict[str, Any]:
        return self._page(mail, options).as_json()

    def page(self, mail: Mail, options: Options) -> Iterator[str]:
        return self._page(mail, options).lines(self.width())

    def _page(self, mail: Mail, options: Options) -> MailPage:
        return MailPage(mail, self.criteria(options), None if options["all"] else FIRST)

    def _recount(self, options: Options) -> None:
        count = hourly_counts.count_sent(None, Mail.objects.db)
        self.stdout.write(f"The charts count {counted(count, 'accepted recipient')}.")

    def _status(self, options: Options) -> None:
        readings = status.gather_outbox()
        if options["json"]:
            self.write([dump(status.outbox_as_json(readings))])
        else:
            self.write(status.outbox_page(readings))
        if faults := readings.faults():
            raise CommandError("\n".join(faults))

    def _retry(self, options: Options) -> None:
        self.apply_change(changes.retry(with_refused=bool(options["ids"])), options)

    def _cancel(self, options: Options) -> None:
        self.apply_change(changes.cancel(), options)

    def _park(self, options: Options) -> None:
        self.apply_change(changes.park(), options)

    def _settle(self, options: Options) -> None:
        self.apply_change(changes.settle(sent=options["sent"]), options)

    def _resend(self, options: Options) -> None:
        change = changes.resend(with_refused=bool(options["ids"]), confirmation=uuid.uuid4())
        self.apply_change(change, options)

    def _probe(self, options: Options) -> None:
        mailer = options["mailer"]
        if mailer is None and not options["all"]:
            raise CommandError("Say which account: --mailer ALIAS, or --all.")
        circuits = filter_columns(OpenCircuit.objects.all(), alias=mailer)
        self.change_rows(changes.probe(), circuits, options)


def _metadata(text: str) -> tuple[str, str]:
    """A key and a value of metadata. Raises ArgumentTypeError with advice on the syntax."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ArgumentTypeError(f"{text!r} is no metadata. Write KEY=VALUE, such as order=1234.")
    return key, value
