"""The lease of a mail: one conditional update gives it to one worker, for as long as a post can take.

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

from events_app.shared.database import sql_now
from sending_app import account
from sending_app.account import Account
from sending_app.delivery import circuit_breaker
from sending_app.models import Mail, OutboxMessage
from sending_app.outbox import using


@dataclass(frozen=True)
class Lease:
    """A mail that is leased to this worker, to post it."""

    mail: Mail
    account: Account
    #: Whether its message has attachments.
    has_files: bool
    #: The account's circuit is half-open, and this post is the probe.
    is_probe: bool = False


def acquire(lane: Mail.Lane) -> Lease | None:
    """The mail of this lane that is due longest, if there is one."""
    accounts = account.usable()
    # As a rule no circuit is open, and one statement will do.
    return _acquire(lane, accounts) or _acquire_beside_open_circuits(lane, accounts)


def anything_due(lane: Mail.Lane) -> bool:
    """Whether `acquire` would find a mail."""
    accounts = account.usable()
    open_circuits = circuit_breaker.open_circuits()
    may_post = [one for one in accounts if open_circuits.get(one.fingerprint, True)]
    return _due(lane, may_post).exists()


def lease_duration(one: Account) -> timedelta:
    """How long a lease is: a mail that is still being posted when it ends has lost its worker."""
    # Twice: a large body takes its time to go out, and each wait for the socket may be as long.
    return timedelta(seconds=2 * sum(one.timeout) + 30)


def _acquire_beside_open_circuits(lane: Mail.Lane, accounts: Sequence[Account]) -> Lease | None:
    open_circuits = circuit_breaker.open_circuits()
    if not open_circuits:
        return None
    for one in accounts:
        if not open_circuits.get(one.fingerprint) or not _due(lane, [one]).exists():
            continue
        if circuit_breaker.start_probe(one) and (lease := _acquire(lane, [one], is_probe=True)):
            return lease
    return _acquire(lane, [one for one in accounts if one.fingerprint not in open_circuits])


def _due(lane: Mail.Lane, accounts: Sequence[Account]) -> "QuerySet[Mail]":
    """The mails of a lane that may be posted now through one of these accounts."""
    return Mail.objects.using(using()).filter(
        state=Mail.State.WAITING,
        lane=lane,
        due__lte=sql_now(using()),
        alias__in=[one.alias for one in accounts],
    )


# Written by hand, and answering all that a post takes: it is most of what a mail costs the database.
_ACQUIRE = """
UPDATE sending_app_mail SET
    state = 'posting', attempt_token = %(attempt)s, attempts = attempts + 1, attempted_at = {now},
    account = CASE alias {fingerprints} END, due = CASE alias {leases} END
WHERE id = (
    SELECT id FROM sending_app_mail
    WHERE state = 'waiting' AND lane = %(lane)s AND due <= {now} AND alias IN ({aliases}) AND {may_post}
    ORDER BY due LIMIT 1 {lock}
)
RETURNING {columns},
    (SELECT content FROM sending_app_outboxmessage AS message WHERE message.id = message_id) AS content,
    EXISTS (SELECT 1 FROM sending_app_attachment AS file WHERE file.message_id = sending_app_mail.message_id)
        AS has_files
"""

_ALL_CIRCUITS_CLOSED = "NOT EXISTS (SELECT 1 FROM sending_app_opencircuit WHERE account IN ({fingerprints}))"


def _acquire(lane: Mail.Lane, accounts: Sequence[Account], is_probe: bool = False) -> Lease | None:
    """Only if no circuit of these accounts is open, unless this is a probe."""
    if not accounts:
        return None
    parameters = {"lane": lane.value, "attempt": secrets.randbits(62) + 1}
    for number, one in enumerate(accounts):
        parameters |= {f"alias{number}": one.alias, f"account{number}": one.fingerprint}
    parameters |= _clock(accounts)
    for mail in Mail.objects.using(using()).raw(_acquire_sql(len(accounts), is_probe), parameters):
        one = next(one for one in accounts if one.alias == mail.alias)
        beside = vars(mail)  # what is no field of its own
        mail.message = OutboxMessage.from_db(using(), ("id", "content"), (mail.message_id, beside["content"]))
        return Lease(mail, one, bool(beside["has_files"]), is_probe)
    return None


def _acquire_sql(accounts: int, is_probe: bool) -> str:
    each = range(accounts)
    fingerprints = ", ".join(f"%(account{one})s" for one in each)
    is_sqlite = connections[using()].vendor == "sqlite"  # its clock is ours, and its writer one at a time
    now, later = ("%(now)s", "") if is_sqlite else ("statement_timestamp()", "statement_timestamp() + ")
    return _ACQUIRE.format(
        now=now,
        fingerprints=" ".join(f"WHEN %(alias{one})s THEN %(account{one})s" for one in each),
        leases=" ".join(f"WHEN %(alias{one})s THEN {later}%(lease{one})s" for one in each),
        aliases=", ".join(f"%(alias{one})s" for one in each),
        may_post="TRUE" if is_probe else _ALL_CIRCUITS_CLOSED.format(fingerprints=fingerprints),
        lock="" if is_sqlite else "FOR UPDATE SKIP LOCKED",
        columns=", ".join(str(field.column) for field in Mail._meta.concrete_fields),
    )


def _clock(accounts: Sequence[Account]) -> dict[str, Any]:
    """What the statement takes of the time, and when each account's lease ends."""
    connection = connections[using()]
    leases = {f"lease{number}": lease_duration(one) for number, one in enumerate(accounts)}
    if connection.vendor != "sqlite":
        return leases
    now, adapt = timezone.now(), connection.ops.adapt_datetimefield_value
    return {name: adapt(now + length) for name, length in leases.items()} | {"now": adapt(now)}
