"""What came of an attempt, written into the part: on its own attempt alone, and never against the evidence.

An event that bears one of a part's ids, or a 202 that came late, shows that SendGrid has the part, whatever
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

from events_app.shared.database import clean, database_now, its_now
from sending_app import conf
from sending_app.api.client import Outcome
from sending_app.exceptions import Verdict
from sending_app.models import Part
from sending_app.outbox import using
from sending_app.outcome import notify, recipients

logger = logging.getLogger(__name__)

#: Seconds before SendGrid is tried again where it could not be reached; each further try doubles them.
FIRST_DELAY = 5

#: Seconds between two tries at the most.
LONGEST_DELAY = 600

#: Entries of a part's log that are kept, the last ones.
MOST_LOG = 50

#: Characters of an entry.
MOST_WORDS = 2000

#: SendGrid is known to have it: by its events, a 202 of any attempt, or a person's word.
EVIDENCE = Q(accepted_at__isnull=False)


def file(part: Part, outcome: Outcome) -> None:
    """Write down what the attempt at the part came to, and tell receivers when that is final."""
    if outcome.verdict == Verdict.ACCEPTED:
        accept(part, outcome)
        return
    now = database_now(using())
    changes: dict[str, Any] = {
        "error": clean(outcome.detail)[:MOST_WORDS],
        "log": logged(part, now, outcome.detail),
    }
    if outcome.verdict == Verdict.FAILED:
        fail(part, in_hand(part), changes)
        return
    if outcome.verdict == Verdict.UNKNOWN:
        changes |= unknown(part, now)
    else:
        # While its account is paused nobody takes the part, however due it is.
        delay = _delay(part.attempts) if outcome.verdict == Verdict.RETRY else timedelta()
        changes |= {"state": Part.State.WAITING, "due": now + delay}
    change(in_hand(part), changes)


def accept(part: Part, outcome: Outcome) -> None:
    """SendGrid has taken this attempt. If it had taken another one too, the mail has gone out twice."""
    mine = outcome.x_message_id[:255]
    if _accept_first(part, mine):
        notify.accepted(part, outcome)
        return
    now = its_now(using())
    changes = {
        "x_message_id": Case(When(x_message_id="", then=Value(mine)), default=F("x_message_id")),
        "sent_twice": Case(When(_another_than(mine), then=Value(True)), default=F("sent_twice")),
        "accepted_at": Coalesce("accepted_at", now),
        "finished_at": now,
        "error": "",
    }
    if not in_hand(part).update(state=Part.State.ACCEPTED, **changes):
        _accept_late(part, outcome, changes)
        return
    if part.attempts > 1:
        _report_if_sent_twice(part)
    notify.accepted(part, outcome)


# As a rule it is the first that is heard of the part, and nothing is to be weighed. Written by hand: Django
# takes longer to write it than the database to do it.
_FIRST = """
UPDATE sending_app_part
SET state = 'accepted', x_message_id = %(mine)s, accepted_at = {now}, finished_at = {now}, error = ''
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'posting'
    AND accepted_at IS NULL AND x_message_id = ''
"""


def _accept_first(part: Part, mine: str) -> bool:
    connection = connections[using()]
    now = "%(now)s" if connection.vendor == "sqlite" else "statement_timestamp()"  # SQLite's clock is ours
    parameters: dict[str, Any] = {
        "mine": mine,
        "id": part.pk,
        "attempt": part.attempt,
        "now": connection.ops.adapt_datetimefield_value(timezone.now()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIRST.format(now=now), parameters)
        return bool(cursor.rowcount)


def _accept_late(part: Part, outcome: Outcome, changes: dict[str, Any]) -> None:
    """The attempt has been given up meanwhile, and others may have been made."""
    with transaction.atomic(using=using()):
        row = Part.objects.using(using()).filter(pk=part.pk)
        state = row.select_for_update().values_list("state", flat=True).first()
        # Another attempt that is on its way stays its worker's to write down.
        row.update(**changes, **({} if state == Part.State.POSTING else {"state": Part.State.ACCEPTED}))
        recipients.queue_again(part)
    _report_if_sent_twice(part)
    if state not in (None, Part.State.POSTING, Part.State.ACCEPTED):
        notify.accepted(part, outcome)


def _report_if_sent_twice(part: Part) -> None:
    if Part.objects.using(using()).filter(pk=part.pk, sent_twice=True).exists():
        logger.error("SendGrid has accepted part %d twice", part.pk)


def fail(part: Part, rows: "QuerySet[Part]", changes: dict[str, Any]) -> bool:
    """Give the part up if `rows` still has it, and there is no evidence that SendGrid does."""
    with transaction.atomic(using=using()):
        now = database_now(using())
        failed = change(rows, {**changes, "state": Part.State.FAILED, "finished_at": now})
        if failed:
            recipients.fail(part)
    if failed:
        notify.failed(part, changes["error"])
    return failed


def change(rows: "QuerySet[Part]", changes: dict[str, Any]) -> bool:
    """Make the changes to the one part in `rows`, unless SendGrid is known to have it: then it is accepted.

    Answers whether they were made.
    """
    if rows.exclude(EVIDENCE).update(**changes):
        return True
    now = database_now(using())
    for part in rows.filter(EVIDENCE).select_related("message"):
        same = Part.objects.using(using()).filter(pk=part.pk, state=part.state, attempt=part.attempt)
        if same.update(state=Part.State.ACCEPTED, finished_at=now, error=""):
            transaction.on_commit(partial(notify.accepted, part), using=using(), robust=True)
    return False


def in_hand(part: Part) -> "QuerySet[Part]":
    """The part, while it is being posted and no other attempt has begun."""
    rows = Part.objects.using(using())
    return rows.filter(pk=part.pk, attempt=part.attempt, state=Part.State.POSTING)


def unknown(part: Part, ended: datetime) -> dict[str, Any]:
    """The changes for an attempt that ended then with unknown outcome."""
    return {
        "state": Part.State.UNKNOWN,
        "unknown_since": ended,
        "due": events_due(part, ended) + timedelta(seconds=conf.UNKNOWN_WAIT.get()),
        "unknowns": F("unknowns") + 1,
    }


def events_due(part: Part, attempted: datetime | None) -> datetime:
    """When SendGrid begins to post events of an attempt that was under way then.

    A mail that SendGrid is to send later has its events later.
    """
    return max(moment for moment in (attempted, part.attempted_at, part.send_at) if moment)


def logged(part: Part, now: datetime, what: str) -> list[dict[str, str]]:
    """The part's log with one entry more."""
    entry = {"at": now.isoformat(timespec="seconds"), "what": clean(what)[:MOST_WORDS]}
    return [*part.log, entry][-MOST_LOG:]


def _another_than(x_message_id: str) -> Q:
    # SendGrid has answered 202 without one (sendgrid/docs issue 3855): that tells nothing.
    return ~Q(x_message_id__in=["", x_message_id]) if x_message_id else Q(pk__isnull=True)


def _delay(attempts: int) -> timedelta:
    seconds = min(FIRST_DELAY * 2.0 ** min(attempts - 1, 30), LONGEST_DELAY)
    # Spread, so that what failed together does not come back together.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311
