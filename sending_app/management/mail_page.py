"""A mail on one page, as text or JSON: its facts, its recipients, and its history."""

import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from typing import Any

import msgspec
from django.db.models import Count

from events_app.shared.console.terminal import Table, attributes, counted, fields
from events_app.shared.escaping import printable
from sending_app import filters, outbox, timeline
from sending_app.filters import MailCriteria
from sending_app.models import Mail, OutboxMessage
from sending_app.outcome.recipients import ENGAGEMENT_TIMES

#: Columns before the words of a moment.
_INDENT = 37

_JSON_FIELDS = (
    *("state", "lane", "send_at", "due", "attempts", "unknown_outcomes", "attempted_at", "accepted_at"),
    *("first_event_at", "finished_at", "x_message_id", "sent_twice", "error", "recipient_count"),
    *("refused", "split_from"),
)
_ENGAGEMENT_TIMES = tuple(ENGAGEMENT_TIMES.values())

#: The meaning of the time at which a mail is due, by its state.
_DUE = {
    Mail.State.WAITING.value: "due",
    Mail.State.POSTING.value: "leased until",
    Mail.State.UNKNOWN.value: "looked at again",
}


class MailPage:
    """A mail with the recipients, events and replies that match the criteria."""

    def __init__(self, mail: Mail, criteria: MailCriteria, most: int | None) -> None:
        """`most` limits the recipients, the events and the replies; None means all."""
        self.mail, self.most = mail, most
        self.recipients = filters.recipients(criteria).filter(mail=mail).order_by("pk")
        self.message_ids = set(self.recipients.values_list("message_id", flat=True))
        self.addresses = filters.in_events(criteria, self.recipients)
        self.moments = timeline.of_mail(mail, self.message_ids, most, self.addresses)

    def as_json(self) -> dict[str, Any]:
        names = ("address", "kind", "message_id", "status", "status_at", "reject_reason", *_ENGAGEMENT_TIMES)
        return {
            **mail_as_json(self.mail),
            "log": self.mail.log,
            "recipients": list(self.recipients[: self.most].values(*names)),
            "timeline": [asdict(moment) for moment in self.moments],
        }

    def lines(self, width: int | None) -> Iterator[str]:
        """The page for a terminal of this width; None for a pipe or a file."""
        yield f"Mail {self.mail.pk}"
        yield from fields(_facts(self.mail, self.message_ids))
        yield "\nRecipients"
        rows = []
        for recipient in self.recipients[: self.most]:
            engagement = [name.removesuffix("_at") for name in _ENGAGEMENT_TIMES if getattr(recipient, name)]
            words = ", ".join(filter(None, (recipient.reject_reason, *engagement)))
            rows.append((recipient.address, recipient.kind, recipient.status, recipient.status_at, words))
        yield from Table(("address", "as", "status", "since (UTC)", ""), indent="  ").lines(rows)
        yield from self._left_out(self.recipients.count(), "recipients")
        yield "\nWhat happened (UTC)"
        for moment in self.moments:
            # A reply may come from a person who was no recipient.
            is_known = self.mail.recipient_count == 1 and moment.what != timeline.ANSWERED
            time = f"{moment.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            words = ": ".join(filter(None, (moment.reject_reason, moment.said)))
            cells = (time, moment.what.ljust(12), "" if is_known else moment.recipient, words)
            line = f"  {printable('  '.join(filter(None, cells)))}".replace("\n", " ").rstrip()
            yield textwrap.fill(line, width, subsequent_indent=" " * _INDENT) if width else line
        yield from self._left_out(timeline.events_of(self.message_ids, self.addresses), "events")

    def _left_out(self, count: int, nouns: str) -> Iterator[str]:
        if self.most is not None and count > self.most:
            yield f"  The first {self.most} of {count} {nouns}; --all shows all."


def mail_as_json(mail: Mail) -> dict[str, Any]:
    """The mail without its recipients and history."""
    message = mail.message
    return {
        "id": mail.pk,
        "message": message.pk,
        **attributes(message, ("created_at", "subject")),
        "mailer": mail.alias,
        **attributes(mail, _JSON_FIELDS),
    }


def _facts(mail: Mail, ids: set[uuid.UUID]) -> dict[str, Any]:
    message = mail.message
    return {
        "state": mail.state,
        "why": mail.error,
        "sent twice": "SendGrid has accepted it in two requests." if mail.sent_twice else "",
        "refused": "SendGrid refuses its recipients: only a retry by its id posts it."
        if mail.refused and mail.state == Mail.State.FAILED
        else "",
        "split": f"It was a part of mail {mail.split_from}." if mail.split_from else "",
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
    mails = Mail.objects.filter(message=mail.message)
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
