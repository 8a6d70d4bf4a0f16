"""The operator's command for the outbox: find and show mails; retry, cancel and settle them."""

import textwrap
import uuid
from argparse import RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar

import msgspec
from django.core.management.base import CommandParser
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Change, Console, Options, Search
from events_app.shared.console.terminal import Table, attributes, counted, dump, fields, printable
from sending_app import filters, outbox, tasks, timeline
from sending_app.management import status
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.outbox import using
from sending_app.outcome import manual
from sending_app.outcome.recipients import ENGAGEMENT_TIMES
from sending_app.timeline import Moment

#: Recipients and events on a page without --all.
FIRST = 50

#: Columns before the words of a moment.
_INDENT = 37

_JSON_FIELDS = (
    *("state", "lane", "send_at", "due", "attempts", "unknown_outcomes", "attempted_at", "accepted_at"),
    *("first_event_at", "finished_at", "x_message_id", "sent_twice", "error", "recipient_count"),
)
_ENGAGEMENT_TIMES = tuple(ENGAGEMENT_TIMES.values())

#: The meaning of the time at which a mail is due, by its state.
_DUE = {
    Mail.State.WAITING.value: "due",
    Mail.State.POSTING.value: "leased until",
    Mail.State.UNKNOWN.value: "looked at again",
}

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
        return {**_as_json(mail), "first_recipient": mail.first}

    def page_as_json(self, mail: Mail, options: Options) -> dict[str, Any]:
        recipients, _, moments = self._related(mail, options)
        names = ("address", "kind", "message_id", "status", "status_at", "reject_reason", *_ENGAGEMENT_TIMES)
        return {
            **_as_json(mail),
            "log": mail.log,
            "recipients": list(recipients[: _most(options)].values(*names)),
            "timeline": [asdict(moment) for moment in moments],
        }

    def page(self, mail: Mail, options: Options) -> Iterator[str]:
        """The mail with the first recipients and events that match the filters."""
        recipients, ids, moments = self._related(mail, options)
        most, width = _most(options), self.width()
        yield f"Mail {mail.pk}"
        yield from fields(_facts(mail, ids))
        yield "\nRecipients"
        header = ("address", "as", "status", "since (UTC)", "")
        yield from Table(header, indent="  ").lines([_recipient(row) for row in recipients[:most]])
        yield from _left_out(recipients.count(), most, "recipients")
        yield "\nWhat happened (UTC)"
        for moment in moments:
            line = _line(moment, alone=mail.recipient_count == 1)
            yield textwrap.fill(line, width, subsequent_indent=" " * _INDENT) if width else line
        addresses = filters.in_events(self.criteria(options))
        yield from _left_out(timeline.events_of(ids, addresses), most, "events")

    def _related(
        self, mail: Mail, options: Options
    ) -> "tuple[QuerySet[Recipient], set[uuid.UUID], list[Moment]]":
        """The mail's recipients that match the filters, their message ids, and their history."""
        criteria = self.criteria(options)
        recipients = filters.recipients(criteria).filter(mail=mail).order_by("pk")
        ids = set(recipients.values_list("message_id", flat=True))
        return recipients, ids, timeline.of_mail(mail, ids, _most(options), filters.in_events(criteria))

    def _status(self, options: Options) -> None:
        figures = status.gather_outbox()
        self.write([dump(figures)] if options["json"] else status.outbox_page(figures))

    def _retry(self, options: Options) -> None:
        change = _change(
            verb="retry",
            done="retried",
            preview=manual.retryable_mails,
            apply=manual.retry_mails,
            otherwise="with nothing to retry: accepted, due already, cancelled, or to be settled first",
            wakes=_WAKES,
        )
        self.change(change, options)

    def _cancel(self, options: Options) -> None:
        change = _change(
            verb="cancel",
            done="cancelled",
            preview=manual.cancellable_mails,
            apply=manual.cancel_mails,
            otherwise="with nothing to cancel: accepted, or given up already",
        )
        self.change(change, options)

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
        self.change(change, options)


def _change(**change: Any) -> Change:
    return Change(left_alone=_LEFT_ALONE, only=_MAY_CHANGE, size=manual.SLICE, **change)


def _most(options: Options) -> int | None:
    return None if options["all"] else FIRST


def _as_json(mail: Mail) -> dict[str, Any]:
    message = mail.message
    return {
        "id": mail.pk,
        "message": message.pk,
        **attributes(message, ("created_at", "subject")),
        "mailer": mail.alias,
        **attributes(mail, _JSON_FIELDS),
    }


def _left_out(count: int, most: int | None, nouns: str) -> Iterator[str]:
    if most is not None and count > most:
        yield f"  The first {most} of {count} {nouns}; --all shows all."


def _facts(mail: Mail, ids: set[uuid.UUID]) -> dict[str, Any]:
    message = mail.message
    return {
        "state": mail.state,
        "why": mail.error,
        "sent twice": "SendGrid has accepted it in two requests." if mail.sent_twice else "",
        "batch": _position(mail),
        "subject": message.subject,
        **(_content(message) if message.content is not None else {"content": "gone, its time was over"}),
        "mailer": mail.alias,
        "lane": mail.lane,
        "sent here": message.created_at,
        "not before": mail.send_at,
        _DUE.get(mail.state, ""): mail.due if mail.state in _DUE else "",
        "attempts": mail.attempts,
        "unknown": counted(mail.unknown_outcomes, "time") if mail.unknown_outcomes else "",
        "X-Message-Id": mail.x_message_id,
        "message id": str(*ids) if len(ids) == 1 else "",
    }


def _position(mail: Mail) -> str:
    """The mail's place among the batches of its message, with their states; empty for a single mail."""
    mails = Mail.objects.using(using()).filter(message=mail.message)
    states = dict(mails.order_by("state").values_list("state").annotate(Count("pk")))
    total = sum(states.values())
    if total == 1:
        return ""
    number = mails.filter(pk__lte=mail.pk).count()
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{number} of {total} of message {mail.message_id} ({words})"


def _content(message: OutboxMessage) -> dict[str, Any]:
    attachments = ", ".join(message.attachments.order_by("pk").values_list("filename", flat=True))
    try:
        body = outbox.shared_content_of(message).body
    except (msgspec.MsgspecError, ValueError) as error:
        return {"content": f"cannot be read: {error}", "attachments": attachments}
    # esp_extra may have replaced the sender with anything.
    sender = body.get("from")
    return {
        "from": sender["email"] if isinstance(sender, dict) and "email" in sender else sender,
        "template": body.get("template_id"),
        "attachments": attachments,
    }


def _recipient(row: Recipient) -> tuple[object, ...]:
    engagement = [name.removesuffix("_at") for name in _ENGAGEMENT_TIMES if getattr(row, name)]
    words = ", ".join(filter(None, (row.reject_reason, *engagement)))
    return row.address, row.kind, row.status, row.status_at, words


def _line(moment: Moment, alone: bool) -> str:
    words = ": ".join(filter(None, (moment.reject_reason, moment.said)))
    # A reply may come from a person who was no recipient.
    recipient = "" if alone and moment.what != timeline.ANSWERED else moment.recipient
    time = f"{moment.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    line = "  ".join(filter(None, (time, moment.what.ljust(12), recipient, words)))
    return f"  {printable(line)}".replace("\n", " ").rstrip()
