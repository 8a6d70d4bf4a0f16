"""The operator's command for the outbox: find and show mails; retry, cancel and settle them."""

from argparse import RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar

from django.core.management.base import CommandParser
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Change, Console, Options, Search
from events_app.shared.console.terminal import dump
from sending_app import filters, tasks
from sending_app.management import status
from sending_app.management.mail_page import MailPage, mail_as_json
from sending_app.models import Mail, Recipient
from sending_app.outcome import manual

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

_LEFT_ALONE = {
    "in_progress": "a worker is posting them",
    "accepted": "there is proof by now that SendGrid has them",
    "empty": "what they said is gone, at the end of OUTBOX_BODY_DAYS",
    "refused": "SendGrid refuses their recipients; name a mail by its id to post it all the same",
}

#: Accepted and cancelled mails never change. Most mails are accepted.
_MAY_CHANGE = ~Q(state__in=(Mail.State.ACCEPTED, Mail.State.CANCELLED))

_MAYBE_TWICE = "If SendGrid has them after all, their recipients get them twice."

_WAKES = [partial(tasks.wake_for, lane) for lane in Mail.Lane]


class Command(Console):
    help = "Find and show the mails of the outbox; retry, cancel and settle mails."
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
    groups: ClassVar = {
        "state": attrgetter("state"),
        "lane": attrgetter("lane"),
        "mailer": attrgetter("alias"),
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions, parents = self.add_actions(parser)
        every = "show all recipients and events, not only the first 50"
        actions.choices["show"].add_argument("--all", action="store_true", help=every)
        parents = [*parents, shared_options.change()]
        actions.add_parser("retry", parents=parents, help="post failed and deferred mails now")
        actions.add_parser("cancel", parents=parents, help="give up waiting, unknown and parked mails")
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

    def group_counts(self, rows: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
        counts = rows.order_by().values_list("state", "lane", "alias").annotate(Count("pk"))
        return Counter({(state, lane, alias): count for state, lane, alias, count in counts})

    def as_json(self, mail: Any) -> dict[str, Any]:
        return {**mail_as_json(mail), "first_recipient": mail.first}

    def page_as_json(self, mail: Mail, options: Options) -> dict[str, Any]:
        return self._page(mail, options).as_json()

    def page(self, mail: Mail, options: Options) -> Iterator[str]:
        return self._page(mail, options).lines(self.width())

    def _page(self, mail: Mail, options: Options) -> MailPage:
        return MailPage(mail, self.criteria(options), None if options["all"] else FIRST)

    def _status(self, options: Options) -> None:
        figures = status.gather_outbox()
        self.write([dump(figures)] if options["json"] else status.outbox_page(figures))

    def _retry(self, options: Options) -> None:
        by_id = bool(options["ids"])
        change = _change(
            verb="retry",
            done="retried",
            preview=partial(manual.retryable_mails, with_refused=by_id),
            apply=partial(manual.retry_mails, with_refused=by_id),
            otherwise="with nothing to retry: accepted, due already, cancelled, or to be settled first",
            wakes=_WAKES,
        )
        self.apply_change(change, options)

    def _cancel(self, options: Options) -> None:
        change = _change(
            verb="cancel",
            done="cancelled",
            preview=manual.cancellable_mails,
            apply=manual.cancel_mails,
            otherwise="with nothing to cancel: accepted, or given up already",
        )
        self.apply_change(change, options)

    def _settle(self, options: Options) -> None:
        is_posted_again = options["not_sent"]
        change = _change(
            verb="settle",
            done="settled",
            preview=manual.unsettled_mails,
            apply=partial(manual.settle_mails, sent=options["sent"]),
            otherwise="with nothing to settle: neither unknown nor parked",
            wakes=_WAKES if is_posted_again else (),
            warning=_MAYBE_TWICE if is_posted_again else "",
        )
        self.apply_change(change, options)


def _change(**change: Any) -> Change:
    return Change(left_alone=_LEFT_ALONE, only=_MAY_CHANGE, size=manual.SLICE, **change)
