"""What came of an attempt, written into the part: on its own attempt alone, and never against the evidence.

An event that bears one of a part's ids, or a 202 that came late, shows that SendGrid has the part, whatever
another attempt came to.
"""

import logging
import random
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from events_app.decode import clean
from events_app.models import database_now
from sending_app import announce, conf, status
from sending_app.client import Outcome, Verdict
from sending_app.models import Part
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Seconds before SendGrid is tried again where it could not be reached; each further try doubles them.
FIRST_DELAY = 5

#: Seconds between two tries at the most.
LONGEST_DELAY = 600

#: Entries of a part's log that are kept, the last ones.
MOST_LOG = 50

#: SendGrid is known to have it.
EVIDENCE = Q(seen_at__isnull=False) | ~Q(x_message_id="")


def file(part: Part, outcome: Outcome) -> None:
    """Write down what the attempt at the part came to, and tell receivers when that is final."""
    if outcome.verdict == Verdict.ACCEPTED:
        accept(part, outcome)
        return
    now = database_now(using())
    changes: dict[str, Any] = {"error": clean(outcome.detail), "log": logged(part, now, outcome.detail)}
    if outcome.verdict == Verdict.FAILED:
        fail(part, in_hand(part), changes)
        return
    if outcome.verdict == Verdict.UNKNOWN:
        changes |= {"state": Part.State.UNKNOWN, "due": settle_from(part), "unknowns": F("unknowns") + 1}
    else:
        # While its account is paused nobody takes the part, however due it is.
        delay = _delay(part.attempts) if outcome.verdict == Verdict.RETRY else timedelta()
        changes |= {"state": Part.State.WAITING, "due": now + delay}
    change(in_hand(part), changes)


def accept(part: Part, outcome: Outcome) -> None:
    """SendGrid has taken this attempt. If it had taken another one too, the mail has gone out twice."""
    now = database_now(using())
    mine = outcome.x_message_id[:255]
    row = Part.objects.using(using()).filter(pk=part.pk)
    row.update(
        # Another attempt that is on its way stays its worker's to write down.
        state=Case(
            When(Q(state=Part.State.POSTING) & ~Q(attempt=part.attempt), then=F("state")),
            default=Value(Part.State.ACCEPTED),
        ),
        x_message_id=Case(When(x_message_id="", then=Value(mine)), default=F("x_message_id")),
        sent_twice=Case(When(_another_than(mine), then=Value(True)), default=F("sent_twice")),
        accepted_at=Coalesce("accepted_at", Value(now)),
        finished_at=Value(now),
        error="",
    )
    if part.attempts > 1 and row.filter(sent_twice=True).exists():
        logger.error("SendGrid has accepted part %d twice", part.pk)
    announce.accepted(part, outcome)


def fail(part: Part, rows: "QuerySet[Part]", changes: dict[str, Any]) -> bool:
    """Give the part up if `rows` still has it, and there is no evidence that SendGrid does."""
    with transaction.atomic(using=using()):
        now = database_now(using())
        failed = change(rows, {**changes, "state": Part.State.FAILED, "finished_at": now})
        if failed:
            status.fail(part)
    if failed:
        announce.failed(part, changes["error"])
    return failed


def change(rows: "QuerySet[Part]", changes: dict[str, Any]) -> bool:
    """Make the changes, unless something shows that SendGrid has the part: then it is accepted.

    Answers whether they were made.
    """
    if rows.exclude(EVIDENCE).update(**changes):
        return True
    now = database_now(using())
    rows.filter(EVIDENCE).update(
        state=Part.State.ACCEPTED, accepted_at=Coalesce("accepted_at", Value(now)), finished_at=now, error=""
    )
    return False


def in_hand(part: Part) -> "QuerySet[Part]":
    """The part, while it is being posted and no other attempt has begun."""
    rows = Part.objects.using(using())
    return rows.filter(pk=part.pk, attempt=part.attempt, state=Part.State.POSTING)


def settle_from(part: Part) -> datetime:
    """When it is time to decide on an attempt whose outcome is unknown: its events have had their time.

    A mail that SendGrid is to send later has its events later.
    """
    began = [moment for moment in (part.attempted_at, part.send_at) if moment]
    return max(began) + timedelta(seconds=conf.UNKNOWN_WAIT.get())


def logged(part: Part, now: datetime, what: str) -> list[dict[str, str]]:
    """The part's log with one entry more."""
    return [*part.log, {"at": now.isoformat(timespec="seconds"), "what": clean(what)}][-MOST_LOG:]


def _another_than(x_message_id: str) -> Q:
    # SendGrid has answered 202 without one (sendgrid/docs issue 3855): that tells nothing.
    return ~Q(x_message_id__in=["", x_message_id]) if x_message_id else Q(pk__isnull=True)


def _delay(attempts: int) -> timedelta:
    seconds = min(FIRST_DELAY * 2.0 ** min(attempts - 1, 30), LONGEST_DELAY)
    # Spread, so that what failed together does not come back together.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311
