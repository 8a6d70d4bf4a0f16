"""Who posts a part: one conditional update gives it to one worker, for as long as a post can take.

The token of the attempt is in the row, so whatever a worker writes later it writes on its own attempt.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from events_app.models import database_now
from sending_app import account, pauses
from sending_app.account import Account
from sending_app.models import Part
from sending_app.outbox import using


@dataclass(frozen=True)
class Taken:
    """A part that is this worker's to post."""

    part: Part
    account: Account
    #: The account is paused, and this is the one post that tries it.
    trying: bool = False


def take(lane: Part.Lane) -> Taken | None:
    """The part of this lane that is due longest, if there is one."""
    accounts = account.usable()
    shut = pauses.shut()
    for one in accounts:
        if not shut.get(one.fingerprint) or not due(lane, [one], database_now(using())).exists():
            continue
        if pauses.may_try(one) and (taken := _take(lane, [one], trying=True)):
            return taken
    return _take(lane, [one for one in accounts if one.fingerprint not in shut])


def anything_due(lane: Part.Lane) -> bool:
    """Whether `take` would find a part."""
    accounts = account.usable()
    shut = pauses.shut()
    may_post = [one for one in accounts if shut.get(one.fingerprint, True)]
    return due(lane, may_post, database_now(using())).exists()


def due(lane: Part.Lane, accounts: Sequence[Account], now: datetime) -> "QuerySet[Part]":
    """The parts of a lane that may be posted now through one of these accounts."""
    return Part.objects.using(using()).filter(
        state=Part.State.WAITING,
        lane=lane,
        due__lte=now,
        alias__in=[one.alias for one in accounts],
    )


def lease(one: Account) -> timedelta:
    """How long after its claim a part that is still being posted has lost its worker."""
    # Twice: a large body takes its time to go out, and each wait for the socket may be as long.
    return timedelta(seconds=2 * sum(one.timeout) + 30)


def _take(lane: Part.Lane, accounts: Sequence[Account], trying: bool = False) -> Taken | None:
    if not accounts:
        return None
    with transaction.atomic(using=using()):
        now = database_now(using())
        rows = due(lane, accounts, now).order_by("due").select_for_update(skip_locked=True, of=("self",))
        part = rows.select_related("message").first()
        if part is None:
            return None
        one = next(one for one in accounts if one.alias == part.alias)
        part.state, part.due = Part.State.POSTING, now + lease(one)
        part.attempt, part.attempts = secrets.randbits(62) + 1, part.attempts + 1
        part.attempted_at, part.account = now, one.fingerprint
        part.save(update_fields=["state", "due", "attempt", "attempts", "attempted_at", "account"])
    return Taken(part, one, trying)
