"""The page of a mail: state, advice, recipients, timeline, and the head of the content."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Count, Q
from django.urls import NoReverseMatch
from django.utils.html import format_html

from events_app.shared.admin.links import link_to
from events_app.shared.admin.times import utc_time
from sending_app.admin import contents, history, words
from sending_app.admin.counts import counts_of_mail
from sending_app.admin.suppressed import suppressed_now, suppression_links
from sending_app.admin.viewer import MailViewer
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient
from sending_app.outcome.recipients import ENGAGEMENT_TIMES

#: Most recipients, and most parts, on the page.
MOST = 50

#: The meaning of the time at which a mail is due, by its state.
_DUE = {
    Mail.State.WAITING.value: "Due",
    Mail.State.POSTING.value: "Leased until",
    Mail.State.UNKNOWN.value: "Looked at again",
}


@dataclass(frozen=True)
class RecipientLine:
    """A recipient on the page. `status` and `since` are HTML."""

    pk: int
    address: str
    kind: str
    status: str
    since: str
    #: The suppressions of the address that hold now, as HTML.
    suppressed: str
    #: The words of the engagements, with their times as HTML.
    engagements: list[tuple[str, str]]
    message_id: str


def mail_context(mail: Mail, viewer: MailViewer) -> dict[str, Any]:
    """The variables of the template."""
    counts = counts_of_mail(mail.pk)
    message_ids = set(mail.recipients.order_by().values_list("message_id", flat=True))
    lines = history.timeline_lines(mail, message_ids, viewer)
    head = contents.head_of(mail.message)
    subject = viewer.text(mail.message.subject)
    return {
        "title": f"Mail {mail.pk}: {subject}" if subject else f"Mail {mail.pk}",
        "subtitle": None,
        "subject": subject,
        "viewer": viewer,
        "state": words.shown_state(mail, counts),
        "advice": words.ADVICE[words.outcome_word(mail, counts)],
        "circuit": _open_circuit(mail),
        "error": viewer.text(mail.error),
        "facts": list(_facts(mail, viewer, {str(message_id) for message_id in message_ids})),
        "numbers": list(counts.numbers(mail.accepted_at is not None)),
        "total": counts.total,
        "recipients": list(_recipients(mail, viewer)),
        "lines": lines,
        "events_left_out": history.events_left_out(lines, message_ids),
        "only_id": str(*message_ids) if len(message_ids) == 1 else "",
        "head": head,
        "sender": viewer.address(head.sender),
        "reply_to": [viewer.address(address) for address in head.reply_to],
        "tags": [viewer.text(tag) for tag in head.tags],
        "metadata": [(viewer.text(name), viewer.text(text)) for name, text in head.metadata],
        "attachments": [
            (file.pk, viewer.text(file.filename), viewer.text(file.type), size)
            for file, size in contents.attachments_of(mail.message_id, MOST)
        ],
    }


def _recipients(mail: Mail, viewer: MailViewer) -> Iterator[RecipientLine]:
    rows = list(mail.recipients.order_by("pk")[:MOST])
    suppressed = suppressed_now(row.address for row in rows)
    for row in rows:
        times = ((name.value, getattr(row, column)) for name, column in ENGAGEMENT_TIMES.items())
        yield RecipientLine(
            pk=row.pk,
            address=viewer.address(row.address),
            kind=Recipient.Kind(row.kind).value,
            status=words.status_word(row.status, mail.accepted_at is not None, row.reject_reason),
            since=utc_time(row.status_at) if row.status_at else "",
            suppressed=suppression_links(suppressed[row.address], viewer),
            engagements=[(name, utc_time(at)) for name, at in times if at],
            message_id=str(row.message_id),
        )


def _facts(mail: Mail, viewer: MailViewer, message_ids: set[str]) -> Iterator[tuple[str, str]]:
    """Names and values, without empty values. The values are text, or HTML that is safe."""
    is_over = mail.finished_at and mail.finished_at != mail.accepted_at
    last_attempt = mail.attempted_at and format_html(
        "{}, the last at {} {}", mail.attempts, utc_time(mail.attempted_at), _task(mail)
    )
    facts = {
        "Message": _position(mail),
        "Split": _split(mail),
        "Mailer": f"{mail.alias} ({words.LANE_NAMES[mail.lane]})",
        "Created": utc_time(mail.message.created_at),
        "Not before": mail.send_at and utc_time(mail.send_at),
        _DUE.get(mail.state, ""): mail.state in _DUE and utc_time(mail.due),
        "Attempts": last_attempt,
        "Unknown outcomes": str(mail.unknown_outcomes or ""),
        "Accepted": mail.accepted_at and utc_time(mail.accepted_at),
        "First event": mail.first_event_at and utc_time(mail.first_event_at),
        "Finished": is_over and utc_time(mail.finished_at),
        "X-Message-Id": viewer.text(mail.x_message_id),
        "Message id": next(iter(message_ids)) if len(message_ids) == 1 else "",
    }
    yield from ((name, fact) for name, fact in facts.items() if fact)


def _position(mail: Mail) -> str:
    """The message, and the mail's place among the mails of the message, with their states."""
    link = link_to(OutboxMessage(pk=mail.message_id), f"message {mail.message_id}")
    mails = Mail.objects.filter(message=mail.message_id)
    states = dict(mails.order_by("state").values_list("state").annotate(Count("pk")))
    total = sum(states.values())
    if total == 1:
        return link
    number = mails.filter(pk__lte=mail.pk).count()
    return format_html(
        "mail {} of {} of {} ({})",
        number,
        total,
        link,
        ", ".join(f"{count} {words.STATE_NAMES[state]}" for state, count in states.items()),
    )


def _split(mail: Mail) -> str:
    if mail.split_from is None:
        return ""
    first = link_to(Mail(pk=mail.split_from), f"mail {mail.split_from}")
    return format_html("a part of {}, which SendGrid refused as a whole", first)


def _open_circuit(mail: Mail) -> OpenCircuit | None:
    """The open circuit that holds the waiting mail."""
    if mail.state != Mail.State.WAITING:
        return None
    return OpenCircuit.objects.filter(Q(account=mail.account) | Q(alias=mail.alias)).first()


def _task(mail: Mail) -> str:
    """A link to the result of the Celery task of the last attempt, if the project keeps the result."""
    if not mail.task_id or not apps.is_installed("django_celery_results"):
        return ""
    results: Any = apps.get_model("django_celery_results", "TaskResult")
    result = results.objects.filter(task_id=mail.task_id).only("pk").first()
    with suppress(NoReverseMatch):  # a project may have no such page
        return link_to(result, "(result of the task)") if result else ""
    return ""
