"""Parts of the outbox as text for a terminal, and as JSON for a pipe."""

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
from sending_app.models import OutboxMessage, Part, Recipient
from sending_app.outbox import using
from sending_app.outcome.recipients import MOMENTS
from sending_app.timeline import Moment

#: Recipients and events that are shown, where not all are asked for.
FIRST = 50

#: Columns before the words of what happened.
_INDENT = 37

_HEADER = ("id", "sent here (UTC)", "state", "lane", "mailer", "to", "tries", "mail", "why")
_NUMBERS = frozenset({5, 6})

_COLUMNS = (
    *("state", "lane", "send_at", "due", "attempts", "unknowns", "attempted_at", "accepted_at"),
    *("seen_at", "finished_at", "x_message_id", "sent_twice", "error", "recipient_count"),
)
_MOMENTS = tuple(MOMENTS.values())


def with_first(parts: "QuerySet[Part]") -> "QuerySet[Part]":
    """The parts with what a line of them says, and without what is large."""
    first = Recipient.objects.filter(part=OuterRef("pk")).order_by("pk").values("address")[:1]
    return (
        parts.annotate(first=Subquery(first))
        .select_related("message")
        .defer("envelopes", "message__content", "log")
    )


def table(width: int | None) -> Table:
    return Table(_HEADER, _NUMBERS, width, most=60)


def cells(part: Any) -> tuple[str, ...]:
    """The part's row in a table; it is one `with_first`."""
    mail = ": ".join(filter(None, (part.first, part.message.subject)))
    return (
        str(part.pk),
        f"{part.message.created_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        part.state,
        part.lane,
        printable(part.alias),
        str(part.recipient_count),
        str(part.attempts),
        printable(mail).replace("\n", " "),
        printable(part.error).replace("\n", " "),
    )


def as_json(part: Any) -> dict[str, Any]:
    """All there is in the columns; the part is one `with_first`."""
    return {**_as_json(part), "first_recipient": part.first}


def _as_json(part: Part) -> dict[str, Any]:
    message = part.message
    return {
        "id": part.pk,
        "message": message.pk,
        "created_at": message.created_at,
        "subject": message.subject,
        "mailer": part.alias,
        **{name: getattr(part, name) for name in _COLUMNS},
    }


@dataclass(frozen=True)
class InFull:
    """Parts with everything there is of them."""

    #: Those to show, of whichever part.
    recipients: "QuerySet[Recipient]"
    #: Addresses whose events alone are shown; None: all.
    to: Collection[str] | None
    #: Recipients and events of each part, at the most.
    most: int | None
    #: Of the terminal; None: lines are of any length.
    width: int | None = None

    def page(self, part: Part) -> Iterator[str]:
        """For people."""
        ids = self._ids(part)
        yield f"Mail {part.pk}"
        yield from fields(_fields(part, ids))
        yield "\nRecipients"
        yield from self._recipients(part)
        yield "\nWhat happened (UTC)"
        for moment in timeline.of_part(part, ids, self.most, self.to):
            yield from self._wrapped(_line(moment, alone=part.recipient_count == 1))
        yield from self._left_out(timeline.events_of(ids, self.to), "events")

    def as_json(self, part: Part) -> dict[str, Any]:
        """For programs."""
        moments = timeline.of_part(part, self._ids(part), self.most, self.to)
        names = ("address", "kind", "message_id", "status", "status_at", "reject_reason", *_MOMENTS)
        return {
            **_as_json(part),
            "log": part.log,
            "recipients": list(self._of(part).order_by("pk")[: self.most].values(*names)),
            "timeline": [asdict(one) for one in moments],
        }

    def _of(self, part: Part) -> "QuerySet[Recipient]":
        return self.recipients.filter(part=part)

    def _ids(self, part: Part) -> set[uuid.UUID]:
        return set(self._of(part).values_list("message_id", flat=True))

    def _recipients(self, part: Part) -> Iterator[str]:
        rows = [_recipient(row) for row in self._of(part).order_by("pk")[: self.most]]
        header = ("address", "as", "status", "since (UTC)", "")
        yield from (f"  {line}" for line in columns(header, rows))
        yield from self._left_out(self._of(part).count(), "recipients")

    def _wrapped(self, line: str) -> list[str]:
        if self.width is None or len(line) <= self.width:
            return [line]
        return textwrap.wrap(line, self.width, subsequent_indent=" " * _INDENT, drop_whitespace=True)

    def _left_out(self, count: int, what: str) -> Iterator[str]:
        if self.most is not None and count > self.most:
            yield f"  The first {self.most} of {count} {what}; --all shows all."


def _fields(part: Part, ids: set[uuid.UUID]) -> dict[str, Any]:
    message = part.message
    return {
        "state": part.state,
        "why": part.error,
        "sent twice": "SendGrid has accepted it in two requests." if part.sent_twice else "",
        "part": _among(part),
        "subject": message.subject,
        **(_of_content(message) if message.content is not None else {"content": "gone, its time was over"}),
        "mailer": part.alias,
        "lane": part.lane,
        "sent here": message.created_at,
        "not before": part.send_at,
        _DUE.get(part.state, ""): part.due if part.state in _DUE else "",
        "attempts": part.attempts,
        "unknown": counted(part.unknowns, "time") if part.unknowns else "",
        "X-Message-Id": part.x_message_id,
        "message id": str(*ids) if len(ids) == 1 else "",
    }


#: What the time a part is due means.
_DUE = {
    Part.State.WAITING.value: "due",
    Part.State.POSTING.value: "in hand until",
    Part.State.UNKNOWN.value: "looked at again",
}


def _among(part: Part) -> str:
    """Which part it is of its message, and where these have got to; of one that is all, nothing."""
    parts = Part.objects.using(using()).filter(message=part.message)
    states = dict(parts.order_by("state").values_list("state").annotate(Count("pk")))
    total = sum(states.values())
    if total == 1:
        return ""
    number = parts.filter(pk__lte=part.pk).count()
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{number} of {total} of message {part.message_id} ({words})"


def _of_content(message: OutboxMessage) -> dict[str, Any]:
    return {
        **_of_body(message),
        "attachments": ", ".join(message.attachments.order_by("pk").values_list("filename", flat=True)),
    }


def _of_body(message: OutboxMessage) -> dict[str, Any]:
    try:
        body = outbox.common_of(message).body
    except (msgspec.MsgspecError, ValueError) as error:
        return {"content": f"cannot be read: {error}"}
    # esp_extra may have put anything there.
    sender = body.get("from")
    return {
        "from": sender["email"] if isinstance(sender, dict) and "email" in sender else sender,
        "template": body.get("template_id"),
    }


def _recipient(row: Recipient) -> tuple[str, ...]:
    did = [name.removesuffix("_at") for name in _MOMENTS if getattr(row, name)]
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
