"""Who posts a part: one conditional update gives it to one worker, for as long as a post can take.

The token of the attempt is in the row, so whatever a worker writes later it writes on its own attempt.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from events_app.shared.database import its_now
from sending_app import account
from sending_app.account import Account
from sending_app.delivery import circuit_breaker
from sending_app.models import OutboxMessage, Part
from sending_app.outbox import using


@dataclass(frozen=True)
class Taken:
    """A part that is this worker's to post."""

    part: Part
    account: Account
    #: Whether its message has attachments.
    has_files: bool
    #: The account is paused, and this is the one post that tries it.
    trying: bool = False


def take(lane: Part.Lane) -> Taken | None:
    """The part of this lane that is due longest, if there is one."""
    accounts = account.usable()
    # As a rule no account is paused, and one statement will do.
    return _take(lane, accounts) or _take_beside_pauses(lane, accounts)


def anything_due(lane: Part.Lane) -> bool:
    """Whether `take` would find a part."""
    accounts = account.usable()
    shut = circuit_breaker.shut()
    may_post = [one for one in accounts if shut.get(one.fingerprint, True)]
    return _due(lane, may_post).exists()


def lease(one: Account) -> timedelta:
    """How long after its claim a part that is still being posted has lost its worker."""
    # Twice: a large body takes its time to go out, and each wait for the socket may be as long.
    return timedelta(seconds=2 * sum(one.timeout) + 30)


def _take_beside_pauses(lane: Part.Lane, accounts: Sequence[Account]) -> Taken | None:
    shut = circuit_breaker.shut()
    if not shut:
        return None
    for one in accounts:
        if not shut.get(one.fingerprint) or not _due(lane, [one]).exists():
            continue
        if circuit_breaker.may_try(one) and (taken := _take(lane, [one], trying=True)):
            return taken
    return _take(lane, [one for one in accounts if one.fingerprint not in shut])


def _due(lane: Part.Lane, accounts: Sequence[Account]) -> "QuerySet[Part]":
    """The parts of a lane that may be posted now through one of these accounts."""
    return Part.objects.using(using()).filter(
        state=Part.State.WAITING,
        lane=lane,
        due__lte=its_now(using()),
        alias__in=[one.alias for one in accounts],
    )


# Written by hand, and answering all that a post takes: it is most of what a mail costs the database.
_CLAIM = """
UPDATE sending_app_part SET
    state = 'posting', attempt = %(attempt)s, attempts = attempts + 1, attempted_at = {now},
    account = CASE alias {fingerprints} END, due = CASE alias {leases} END
WHERE id = (
    SELECT id FROM sending_app_part
    WHERE state = 'waiting' AND lane = %(lane)s AND due <= {now} AND alias IN ({aliases}) AND {may_post}
    ORDER BY due LIMIT 1 {lock}
)
RETURNING {columns},
    (SELECT content FROM sending_app_outboxmessage AS message WHERE message.id = message_id) AS content,
    EXISTS (SELECT 1 FROM sending_app_attachment AS file WHERE file.message_id = sending_app_part.message_id)
        AS has_files
"""

_NONE_IS_PAUSED = "NOT EXISTS (SELECT 1 FROM sending_app_pause WHERE account IN ({fingerprints}))"


def _take(lane: Part.Lane, accounts: Sequence[Account], trying: bool = False) -> Taken | None:
    """Only if none of the accounts is paused, unless this is to try one."""
    if not accounts:
        return None
    parameters = {"lane": lane.value, "attempt": secrets.randbits(62) + 1}
    for number, one in enumerate(accounts):
        parameters |= {f"alias{number}": one.alias, f"account{number}": one.fingerprint}
    parameters |= _clock(accounts)
    for part in Part.objects.using(using()).raw(_claim(len(accounts), trying), parameters):
        one = next(one for one in accounts if one.alias == part.alias)
        beside = vars(part)  # what is no field of its own
        part.message = OutboxMessage.from_db(using(), ("id", "content"), (part.message_id, beside["content"]))
        return Taken(part, one, bool(beside["has_files"]), trying)
    return None


def _claim(accounts: int, trying: bool) -> str:
    each = range(accounts)
    fingerprints = ", ".join(f"%(account{one})s" for one in each)
    is_sqlite = connections[using()].vendor == "sqlite"  # its clock is ours, and its writer one at a time
    now, later = ("%(now)s", "") if is_sqlite else ("statement_timestamp()", "statement_timestamp() + ")
    return _CLAIM.format(
        now=now,
        fingerprints=" ".join(f"WHEN %(alias{one})s THEN %(account{one})s" for one in each),
        leases=" ".join(f"WHEN %(alias{one})s THEN {later}%(lease{one})s" for one in each),
        aliases=", ".join(f"%(alias{one})s" for one in each),
        may_post="TRUE" if trying else _NONE_IS_PAUSED.format(fingerprints=fingerprints),
        lock="" if is_sqlite else "FOR UPDATE SKIP LOCKED",
        columns=", ".join(str(field.column) for field in Part._meta.concrete_fields),
    )


def _clock(accounts: Sequence[Account]) -> dict[str, Any]:
    """What the statement takes of the time, and when each account's lease ends."""
    connection = connections[using()]
    leases = {f"lease{number}": lease(one) for number, one in enumerate(accounts)}
    if connection.vendor != "sqlite":
        return leases
    now, adapt = timezone.now(), connection.ops.adapt_datetimefield_value
    return {name: adapt(now + length) for name, length in leases.items()} | {"now": adapt(now)}
