"""A mail of the outbox in full, as text for a terminal and as JSON."""

import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from typing import Any

import msgspec
from django.db.models import Count, QuerySet

from events_app.shared.console.terminal import Table, attributes, counted, fields, printable
from sending_app import filters, outbox, timeline
from sending_app.filters import Criteria
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.outbox import using
from sending_app.outcome.recipients import ENGAGEMENT_TIMES
from sending_app.timeline import Moment

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


def as_json(mail: Mail) -> dict[str, Any]:
    message = mail.message
    return {
        "id": mail.pk,
        "message": message.pk,
        "created_at": message.created_at,
        "subject": message.subject,
        "mailer": mail.alias,
        **attributes(mail, _JSON_FIELDS),
    }


def page_as_json(mail: Mail, criteria: Criteria, most: int | None) -> dict[str, Any]:
    recipients, _, moments = _related(mail, criteria, most)
    names = ("address", "kind", "message_id", "status", "status_at", "reject_reason", *_ENGAGEMENT_TIMES)
    return {
        **as_json(mail),
        "log": mail.log,
        "recipients": list(recipients[:most].values(*names)),
        "timeline": [asdict(moment) for moment in moments],
    }


def page(mail: Mail, criteria: Criteria, most: int | None, width: int | None) -> Iterator[str]:
    """The mail with the first recipients and events that match the criteria, for a terminal of that width."""
    recipients, ids, moments = _related(mail, criteria, most)
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
    yield from _left_out(timeline.events_of(ids, filters.in_events(criteria)), most, "events")


def _related(
    mail: Mail, criteria: Criteria, most: int | None
) -> "tuple[QuerySet[Recipient], set[uuid.UUID], list[Moment]]":
    recipients = filters.recipients(criteria).filter(mail=mail).order_by("pk")
    ids = set(recipients.values_list("message_id", flat=True))
    return recipients, ids, timeline.of_mail(mail, ids, most, filters.in_events(criteria))


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
