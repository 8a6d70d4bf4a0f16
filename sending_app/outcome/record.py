"""Record the result of an attempt. Only the current attempt may write, and proof of acceptance always wins.

Proof is an event that bears an id of the mail, or a 202 of any attempt, even a late response.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from events_app.shared.backoff import exponential, with_jitter
from events_app.shared.database import AnyOf, clean, database_now, sql_now
from sending_app import conf, outbox, sql
from sending_app.api.client import SendResult
from sending_app.exceptions import Outcome
from sending_app.group_commit import GroupCommit
from sending_app.models import Mail, OpenCircuit, Recipient, still_in
from sending_app.outbox import using
from sending_app.outcome import notify, recipients

logger = logging.getLogger(__name__)

#: Seconds before the first retry. Each further retry doubles the backoff.
FIRST_BACKOFF = 5

#: Longest backoff in seconds.
MAX_BACKOFF = 600

#: Entries of a mail's log; older entries are dropped.
MAX_LOG_ENTRIES = 50

#: Characters of a log entry.
MAX_TEXT = 2000

#: SendGrid is known to have the mail: by an event, a 202 of any attempt, or an operator's decision.
PROVEN_ACCEPTED = Q(accepted_at__isnull=False)


def record_result(mail: Mail, result: SendResult) -> None:
    """Record the result of an attempt, and notify receivers of a final state."""
    if result.outcome == Outcome.ACCEPTED:
        accept(mail, result)
        return
    now = database_now(using())
    changes = explained(mail, now, result.detail)
    if result.outcome == Outcome.FAILED:
        fail(mail, being_posted(mail), changes)
        return
    if result.outcome == Outcome.UNKNOWN:
        changes |= unknown_changes(mail, now)
    else:
        # A paused mail is due at once: the open circuit of its account holds the mail back.
        backoff = with_jitter(exponential(FIRST_BACKOFF, mail.attempts, MAX_BACKOFF))
        delay = backoff if result.outcome == Outcome.RETRY else timedelta()
        changes |= {"state": Mail.State.WAITING, "due": now + delay}
    update_unless_accepted(being_posted(mail), changes)


def postpone(mail: Mail, result: SendResult, delay: timedelta) -> None:
    """Record an attempt that opened the circuit and may have been about this mail alone.

    The mail is due a second after `delay`, so that another mail probes the circuit after its first open time.
    """
    now = database_now(using())
    due = now + delay + timedelta(seconds=1)
    changes = {"state": Mail.State.WAITING, "due": due, "paused_at": now}
    update_unless_accepted(being_posted(mail), explained(mail, now, result.detail) | changes)


def others_passed(mail: Mail) -> bool:
    """Whether SendGrid accepted another mail of the account, posted since this mail paused the account.

    If a circuit of the account is open, the other mail was also posted after the circuit opened.
    """
    if mail.paused_at is None:
        return False
    opened = OpenCircuit.objects.filter(account=mail.account).values_list("opened_at", flat=True)
    others = Mail.objects.filter(
        account=mail.account, attempted_at__gt=max([mail.paused_at, *opened]), accepted_at__isnull=False
    )
    # An event or an operator may prove the acceptance of an earlier attempt. Only a response is about the
    # last attempt, and brings an id.
    by_response = Q(first_event_at=None) | ~Q(accepted_at=F("first_event_at"))
    return others.filter(by_response).exclude(x_message_id="").exists()


def accept(mail: Mail, result: SendResult) -> None:
    """Mark the mail accepted by this attempt, and `sent_twice` if SendGrid accepted two attempts."""
    x_message_id = result.x_message_id[:255]
    # Usually the first proof.
    if _responses.submit((mail, x_message_id)):
        notify.accepted(mail, result)
        return
    now = sql_now(using())
    # SendGrid has answered 202 without an id (sendgrid/docs issue 3855), which proves no second request.
    other_request = ~Q(x_message_id__in=["", x_message_id]) if x_message_id else Q(pk__isnull=True)
    changes = {
        "x_message_id": Case(When(x_message_id="", then=Value(x_message_id)), default=F("x_message_id")),
        "sent_twice": Case(When(other_request, then=Value(True)), default=F("sent_twice")),
        "accepted_at": Coalesce("accepted_at", now),
        "finished_at": now,
        "error": "",
        "refused": False,
    }
    if not being_posted(mail).update(state=Mail.State.ACCEPTED, **changes):
        _accept_late(mail, result, changes)
        return
    if mail.attempts > 1:
        _report_if_sent_twice(mail)
    notify.accepted(mail, result)


def _accept_by_response(responses: Sequence[tuple[Mail, str]]) -> list[bool]:
    accepted = sql.accept_by_response(using(), responses)
    # By attempt: two attempts of a mail may have an answer at the same time.
    return [(mail.pk, mail.attempt_token) in accepted for mail, _ in responses]


_responses = GroupCommit(_accept_by_response)


def _accept_late(mail: Mail, result: SendResult, changes: dict[str, Any]) -> None:
    """Accept a mail whose lease had expired before the response came. Another attempt may have begun.

    The other attempt may also have split the mail. The accepted request had the recipients of all parts.
    """
    ids = [uuid.UUID(personalization.id) for personalization in outbox.personalizations_of(mail)]
    with transaction.atomic(using=using()):
        parts = Recipient.objects.filter(AnyOf("message_id", ids)).values("mail")
        rows = Mail.objects.filter(Q(pk=mail.pk) | Q(pk__in=parts))
        locked = list(rows.select_related("message").order_by("pk").select_for_update(of=("self",)))
        for part in locked:
            # The worker of a newer attempt records the state.
            state = {} if part.state == Mail.State.POSTING else {"state": Mail.State.ACCEPTED}
            Mail.objects.filter(pk=part.pk).update(**changes, **state)
            recipients.requeue(part)
            if part.state == Mail.State.REJECTED:
                recipients.requeue_rejected(part)
    for part in locked:
        _report_if_sent_twice(part)
        if part.state not in (Mail.State.POSTING, Mail.State.ACCEPTED):
            notify.accepted(part, result)


def _report_if_sent_twice(mail: Mail) -> None:
    if Mail.objects.filter(pk=mail.pk, sent_twice=True).exists():
        logger.error("SendGrid has accepted mail %d twice", mail.pk, extra={"mail": mail.pk})


def fail(mail: Mail, rows: "QuerySet[Mail]", changes: dict[str, Any]) -> bool:
    """Mark the mail in `rows` failed, unless acceptance is proven. Whether the mail failed."""
    with transaction.atomic(using=using()):
        now = database_now(using())
        failed = update_unless_accepted(rows, {**changes, "state": Mail.State.FAILED, "finished_at": now})
        if failed:
            recipients.mark_failed(mail)
    if failed:
        notify.failed(mail, changes["error"])
    return failed


def update_unless_accepted(rows: "QuerySet[Mail]", changes: dict[str, Any]) -> bool:
    """Change the mail in `rows`. If acceptance is proven, mark the mail accepted instead and return False."""
    if rows.exclude(PROVEN_ACCEPTED).update(**changes):
        return True
    now = database_now(using())
    for mail in rows.filter(PROVEN_ACCEPTED).select_related("message"):
        unchanged = Mail.objects.filter(still_in(mail.state), pk=mail.pk, attempt_token=mail.attempt_token)
        if unchanged.update(state=Mail.State.ACCEPTED, finished_at=now, error="", refused=False):
            transaction.on_commit(partial(notify.accepted, mail), using=using(), robust=True)
    return False


def being_posted(mail: Mail) -> "QuerySet[Mail]":
    """The row of the mail, while this attempt is the current attempt."""
    return Mail.objects.filter(still_in(Mail.State.POSTING), pk=mail.pk, attempt_token=mail.attempt_token)


def unknown_changes(mail: Mail, ended: datetime) -> dict[str, Any]:
    """The changes for an attempt that ended with an unknown outcome."""
    return {
        "state": Mail.State.UNKNOWN,
        "unknown_since": ended,
        "due": events_expected(mail, ended) + timedelta(seconds=conf.UNKNOWN_WAIT.get()),
        "unknown_outcomes": F("unknown_outcomes") + 1,
        "unknown_attempts": [*mail.unknown_attempts, mail.attempt_token],
    }


def events_expected(mail: Mail, attempted: datetime | None) -> datetime:
    """When SendGrid begins to post events of an attempt. Events of a scheduled mail come after `send_at`."""
    return max(moment for moment in (attempted, mail.attempted_at, mail.send_at) if moment)


def explained(mail: Mail, now: datetime, text: str) -> dict[str, Any]:
    """The changes that keep the text of a result: the error, and an entry in the log."""
    return {"error": clean(text)[:MAX_TEXT], "log": log_with(mail, now, text)}


def log_with(mail: Mail, now: datetime, text: str) -> list[dict[str, str]]:
    """The mail's log with a new entry."""
    return [*mail.log, log_entry(now, text)][-MAX_LOG_ENTRIES:]


def log_entry(now: datetime, text: str) -> dict[str, str]:
    """An entry of a mail's log."""
    return {"at": now.isoformat(timespec="seconds"), "what": clean(text)[:MAX_TEXT]}
