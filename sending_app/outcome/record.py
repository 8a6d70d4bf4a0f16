"""Record the result of an attempt. Only the current attempt may write, and proof of acceptance always wins.

An event that bears one of a mail's ids, or a 202 that came late, shows that SendGrid has the mail, whatever
another attempt came to.
"""

import logging
import random
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from events_app.shared.database import clean, database_now, sql_now
from sending_app import conf
from sending_app.api.client import SendResult
from sending_app.exceptions import Outcome
from sending_app.models import Mail
from sending_app.outbox import using
from sending_app.outcome import notify, recipients

logger = logging.getLogger(__name__)

#: Seconds before SendGrid is tried again where it could not be reached; each further try doubles them.
FIRST_BACKOFF = 5

#: Seconds between two tries at the most.
MAX_BACKOFF = 600

#: Entries of a mail's log that are kept, the last ones.
MAX_LOG_ENTRIES = 50

#: Characters of an entry.
MAX_TEXT = 2000

#: SendGrid is known to have it: by its events, a 202 of any attempt, or a person's word.
PROVEN_ACCEPTED = Q(accepted_at__isnull=False)


def record_result(mail: Mail, result: SendResult) -> None:
    """Record the result of an attempt at the mail, and notify receivers when it is final."""
    if result.outcome == Outcome.ACCEPTED:
        accept(mail, result)
        return
    now = database_now(using())
    changes: dict[str, Any] = {
        "error": clean(result.detail)[:MAX_TEXT],
        "log": log_with(mail, now, result.detail),
    }
    if result.outcome == Outcome.FAILED:
        fail(mail, being_posted(mail), changes)
        return
    if result.outcome == Outcome.UNKNOWN:
        changes |= unknown_changes(mail, now)
    else:
        # While its account is paused nobody takes the mail, however due it is.
        delay = _backoff(mail.attempts) if result.outcome == Outcome.RETRY else timedelta()
        changes |= {"state": Mail.State.WAITING, "due": now + delay}
    update_unless_accepted(being_posted(mail), changes)


def accept(mail: Mail, result: SendResult) -> None:
    """SendGrid has taken this attempt. If it had taken another one too, the mail has gone out twice."""
    mine = result.x_message_id[:255]
    if _accept_plainly(mail, mine):
        notify.accepted(mail, result)
        return
    now = sql_now(using())
    changes = {
        "x_message_id": Case(When(x_message_id="", then=Value(mine)), default=F("x_message_id")),
        "sent_twice": Case(When(_another_than(mine), then=Value(True)), default=F("sent_twice")),
        "accepted_at": Coalesce("accepted_at", now),
        "finished_at": now,
        "error": "",
    }
    if not being_posted(mail).update(state=Mail.State.ACCEPTED, **changes):
        _accept_late(mail, result, changes)
        return
    if mail.attempts > 1:
        _report_if_sent_twice(mail)
    notify.accepted(mail, result)


# As a rule it is the first that is heard of the mail, and nothing is to be weighed. Written by hand: Django
# takes longer to write it than the database to do it.
_ACCEPT_PLAINLY = """
UPDATE sending_app_mail
SET state = 'accepted', x_message_id = %(mine)s, accepted_at = {now}, finished_at = {now}, error = ''
WHERE id = %(id)s AND attempt_token = %(attempt)s AND state = 'posting'
    AND accepted_at IS NULL AND x_message_id = ''
"""


def _accept_plainly(mail: Mail, mine: str) -> bool:
    connection = connections[using()]
    now = "%(now)s" if connection.vendor == "sqlite" else "statement_timestamp()"  # SQLite's clock is ours
    parameters: dict[str, Any] = {
        "mine": mine,
        "id": mail.pk,
        "attempt": mail.attempt_token,
        "now": connection.ops.adapt_datetimefield_value(timezone.now()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPT_PLAINLY.format(now=now), parameters)
        return bool(cursor.rowcount)


def _accept_late(mail: Mail, result: SendResult, changes: dict[str, Any]) -> None:
    """The attempt has been given up meanwhile, and others may have been made."""
    with transaction.atomic(using=using()):
        row = Mail.objects.using(using()).filter(pk=mail.pk)
        state = row.select_for_update().values_list("state", flat=True).first()
        # Another attempt that is on its way stays its worker's to write down.
        row.update(**changes, **({} if state == Mail.State.POSTING else {"state": Mail.State.ACCEPTED}))
        recipients.requeue(mail)
    _report_if_sent_twice(mail)
    if state not in (None, Mail.State.POSTING, Mail.State.ACCEPTED):
        notify.accepted(mail, result)


def _report_if_sent_twice(mail: Mail) -> None:
    if Mail.objects.using(using()).filter(pk=mail.pk, sent_twice=True).exists():
        logger.error("SendGrid has accepted mail %d twice", mail.pk)


def fail(mail: Mail, rows: "QuerySet[Mail]", changes: dict[str, Any]) -> bool:
    """Give the mail up if `rows` still has it, and there is no proof that SendGrid does."""
    with transaction.atomic(using=using()):
        now = database_now(using())
        failed = update_unless_accepted(rows, {**changes, "state": Mail.State.FAILED, "finished_at": now})
        if failed:
            recipients.fail(mail)
    if failed:
        notify.failed(mail, changes["error"])
    return failed


def update_unless_accepted(rows: "QuerySet[Mail]", changes: dict[str, Any]) -> bool:
    """Make the changes to the one mail in `rows`, unless SendGrid is known to have it: then it is accepted.

    Answers whether they were made.
    """
    if rows.exclude(PROVEN_ACCEPTED).update(**changes):
        return True
    now = database_now(using())
    for mail in rows.filter(PROVEN_ACCEPTED).select_related("message"):
        same = Mail.objects.using(using()).filter(
            pk=mail.pk, state=mail.state, attempt_token=mail.attempt_token
        )
        if same.update(state=Mail.State.ACCEPTED, finished_at=now, error=""):
            transaction.on_commit(partial(notify.accepted, mail), using=using(), robust=True)
    return False


def being_posted(mail: Mail) -> "QuerySet[Mail]":
    """The mail, while it is being posted and no other attempt has begun."""
    rows = Mail.objects.using(using())
    return rows.filter(pk=mail.pk, attempt_token=mail.attempt_token, state=Mail.State.POSTING)


def unknown_changes(mail: Mail, ended: datetime) -> dict[str, Any]:
    """The changes for an attempt that ended then with unknown outcome."""
    return {
        "state": Mail.State.UNKNOWN,
        "unknown_since": ended,
        "due": events_expected(mail, ended) + timedelta(seconds=conf.UNKNOWN_WAIT.get()),
        "unknown_outcomes": F("unknown_outcomes") + 1,
    }


def events_expected(mail: Mail, attempted: datetime | None) -> datetime:
    """When SendGrid begins to post events of an attempt that was under way then.

    A mail that SendGrid is to send later has its events later.
    """
    return max(moment for moment in (attempted, mail.attempted_at, mail.send_at) if moment)


def log_with(mail: Mail, now: datetime, what: str) -> list[dict[str, str]]:
    """The mail's log with one entry more."""
    entry = {"at": now.isoformat(timespec="seconds"), "what": clean(what)[:MAX_TEXT]}
    return [*mail.log, entry][-MAX_LOG_ENTRIES:]


def _another_than(x_message_id: str) -> Q:
    # SendGrid has answered 202 without one (sendgrid/docs issue 3855): that tells nothing.
    return ~Q(x_message_id__in=["", x_message_id]) if x_message_id else Q(pk__isnull=True)


def _backoff(attempts: int) -> timedelta:
    seconds = min(FIRST_BACKOFF * 2.0 ** min(attempts - 1, 30), MAX_BACKOFF)
    # Spread, so that what failed together does not come back together.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311
