"""Mails of the outbox as text for a terminal, and as JSON for a pipe."""

import textwrap
import uuid
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import Any

import msgspec
from django.db.models import Count, OuterRef, QuerySet, Subquery

from events_app.shared.console.terminal import Table, columns, counted, fields, printable
from sending_app import outbox, timeline
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.outbox import using
from sending_app.outcome.recipients import ENGAGEMENT_TIMES
from sending_app.timeline import Moment

#: Recipients and events that are shown, where not all are asked for.
FIRST = 50

#: Columns before the words of what happened.
_INDENT = 37

_HEADER = ("id", "sent here (UTC)", "state", "lane", "mailer", "to", "tries", "mail", "why")
_NUMBERS = frozenset({5, 6})

_COLUMNS = (
    *("state", "lane", "send_at", "due", "attempts", "unknown_outcomes", "attempted_at", "accepted_at"),
    *("first_event_at", "finished_at", "x_message_id", "sent_twice", "error", "recipient_count"),
)
_ENGAGEMENT_TIMES = tuple(ENGAGEMENT_TIMES.values())


def with_first(mails: "QuerySet[Mail]") -> "QuerySet[Mail]":
    """The mails with what a line of them says, and without what is large."""
    first = Recipient.objects.filter(mail=OuterRef("pk")).order_by("pk").values("address")[:1]
    return (
        mails.annotate(first=Subquery(first))
        .select_related("message")
        .defer("personalizations", "message__content", "log")
    )


def table(width: int | None) -> Table:
    return Table(_HEADER, _NUMBERS, width, most=60)


def cells(mail: Any) -> tuple[str, ...]:
    """The mail's row in a table; it is one `with_first`."""
    summary = ": ".join(filter(None, (mail.first, mail.message.subject)))
    return (
        str(mail.pk),
        f"{mail.message.created_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        mail.state,
        mail.lane,
        printable(mail.alias),
        str(mail.recipient_count),
        str(mail.attempts),
        printable(summary).replace("\n", " "),
        printable(mail.error).replace("\n", " "),
    )


def as_json(mail: Any) -> dict[str, Any]:
    """All there is in the columns; the mail is one `with_first`."""
    return {**_as_json(mail), "first_recipient": mail.first}


def _as_json(mail: Mail) -> dict[str, Any]:
    message = mail.message
    return {
        "id": mail.pk,
        "message": message.pk,
        "created_at": message.created_at,
        "subject": message.subject,
        "mailer": mail.alias,
        **{name: getattr(mail, name) for name in _COLUMNS},
    }


@dataclass(frozen=True)
class MailPages:
    """Mails with everything there is of them."""

    #: Those to show, of whichever mail.
    recipients: "QuerySet[Recipient]"
    #: Addresses whose events alone are shown; None: all.
    to: Collection[str] | None
    #: Recipients and events of each mail, at the most.
    most: int | None
    #: Of the terminal; None: lines are of any length.
    width: int | None = None

    def page(self, mail: Mail) -> Iterator[str]:
        """For people."""
        ids = self._ids(mail)
        yield f"Mail {mail.pk}"
        yield from fields(_fields(mail, ids))
        yield "\nRecipients"
        yield from self._recipients(mail)
        yield "\nWhat happened (UTC)"
        for moment in timeline.of_mail(mail, ids, self.most, self.to):
            yield from self._wrapped(_line(moment, alone=mail.recipient_count == 1))
        yield from self._left_out(timeline.events_of(ids, self.to), "events")

    def as_json(self, mail: Mail) -> dict[str, Any]:
        """For programs."""
        moments = timeline.of_mail(mail, self._ids(mail), self.most, self.to)
        names = ("address", "kind", "message_id", "status", "status_at", "reject_reason", *_ENGAGEMENT_TIMES)
        return {
            **_as_json(mail),
            "log": mail.log,
            "recipients": list(self._of(mail).order_by("pk")[: self.most].values(*names)),
            "timeline": [asdict(one) for one in moments],
        }

    def _of(self, mail: Mail) -> "QuerySet[Recipient]":
        return self.recipients.filter(mail=mail)

    def _ids(self, mail: Mail) -> set[uuid.UUID]:
        return set(self._of(mail).values_list("message_id", flat=True))

    def _recipients(self, mail: Mail) -> Iterator[str]:
        rows = [_recipient(row) for row in self._of(mail).order_by("pk")[: self.most]]
        header = ("address", "as", "status", "since (UTC)", "")
        yield from (f"  {line}" for line in columns(header, rows))
        yield from self._left_out(self._of(mail).count(), "recipients")

    def _wrapped(self, line: str) -> list[str]:
        if self.width is None or len(line) <= self.width:
            return [line]
        return textwrap.wrap(line, self.width, subsequent_indent=" " * _INDENT, drop_whitespace=True)

    def _left_out(self, count: int, what: str) -> Iterator[str]:
        if self.most is not None and count > self.most:
            yield f"  The first {self.most} of {count} {what}; --all shows all."


def _fields(mail: Mail, ids: set[uuid.UUID]) -> dict[str, Any]:
    message = mail.message
    return {
        "state": mail.state,
        "why": mail.error,
        "sent twice": "SendGrid has accepted it in two requests." if mail.sent_twice else "",
        "batch": _position(mail),
        "subject": message.subject,
        **(_of_content(message) if message.content is not None else {"content": "gone, its time was over"}),
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


#: What the time a mail is due means.
_DUE = {
    Mail.State.WAITING.value: "due",
    Mail.State.POSTING.value: "leased until",
    Mail.State.UNKNOWN.value: "looked at again",
}


def _position(mail: Mail) -> str:
    """Which batch of its message the mail is, with the states of all of them; empty for the only one."""
    mails = Mail.objects.using(using()).filter(message=mail.message)
    states = dict(mails.order_by("state").values_list("state").annotate(Count("pk")))
    total = sum(states.values())
    if total == 1:
        return ""
    number = mails.filter(pk__lte=mail.pk).count()
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{number} of {total} of message {mail.message_id} ({words})"


def _of_content(message: OutboxMessage) -> dict[str, Any]:
    return {
        **_of_body(message),
        "attachments": ", ".join(message.attachments.order_by("pk").values_list("filename", flat=True)),
    }


def _of_body(message: OutboxMessage) -> dict[str, Any]:
    try:
        body = outbox.shared_content_of(message).body
    except (msgspec.MsgspecError, ValueError) as error:
        return {"content": f"cannot be read: {error}"}
    # esp_extra may have put anything there.
    sender = body.get("from")
    return {
        "from": sender["email"] if isinstance(sender, dict) and "email" in sender else sender,
        "template": body.get("template_id"),
    }


def _recipient(row: Recipient) -> tuple[str, ...]:
    did = [name.removesuffix("_at") for name in _ENGAGEMENT_TIMES if getattr(row, name)]
    return (
        row.address,
        row.kind,
        row.status,
        f"{row.status_at.astimezone(UTC):%Y-%m-%d %H:%M}" if row.status_at else "",
        ", ".join(filter(None, (row.reject_reason, *did))),
    )


def _line(moment: Moment, alone: bool) -> str:
    said = ": ".join(filter(None, (moment.reject_reason, moment.said)))
    # Anybody may answer a mail, whoever it went to.
    recipient = "" if alone and moment.what != timeline.ANSWERED else moment.recipient
    words = (moment.what.ljust(12), recipient, said)
    line = "  ".join(filter(None, (f"{moment.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", *words)))
    return f"  {printable(line)}".replace("\n", " ").rstrip()
