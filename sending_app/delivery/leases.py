"""The lease of a mail: a conditional update gives the mail to a single worker for the time of a post.

The row keeps the token of the attempt. So a late worker cannot write over the result of a newer attempt.
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
from sending_app.account import Account, usable
from sending_app.delivery import circuit_breaker
from sending_app.models import Mail, OutboxMessage
from sending_app.outbox import using


@dataclass(frozen=True)
class Lease:
    """A mail leased by a worker, with the account for the post."""

    mail: Mail
    account: Account
    #: Whether the message has attachments.
    has_files: bool
    #: The account's circuit is half-open, and this post is the probe.
    is_probe: bool = False


def acquire(lane: Mail.Lane) -> Lease | None:
    """Lease the lane's longest due mail. None if no mail is due."""
    accounts = usable()
    # Usually no circuit is open, and one statement is enough.
    lease = _acquire(lane, accounts)
    if lease or not (open_circuits := circuit_breaker.open_circuits()):
        return lease
    for candidate in accounts:
        if not open_circuits.get(candidate.fingerprint) or not _due(lane, [candidate]).exists():
            continue
        if circuit_breaker.start_probe(candidate) and (lease := _acquire(lane, [candidate], is_probe=True)):
            return lease
    return _acquire(lane, [account for account in accounts if account.fingerprint not in open_circuits])


def anything_due(lane: Mail.Lane) -> bool:
    """Whether `acquire` would find a mail."""
    open_circuits = circuit_breaker.open_circuits()
    allowed = [account for account in usable() if open_circuits.get(account.fingerprint, True)]
    return _due(lane, allowed).exists()


def lease_duration(account: Account) -> timedelta:
    """Duration of a lease. If a mail is still posting at the end, the worker has died."""
    # Twice the timeout: a large body takes a while to upload, and every socket operation may wait so long.
    return timedelta(seconds=2 * sum(account.timeout) + 30)


def _due(lane: Mail.Lane, accounts: Sequence[Account]) -> "QuerySet[Mail]":
    """The lane's due mails of the mailers with these accounts."""
    return Mail.objects.using(using()).filter(
        state=Mail.State.WAITING,
        lane=lane,
        due__lte=sql_now(using()),
        alias__in=[account.alias for account in accounts],
    )


# Raw SQL that returns everything a post needs: this statement is most of a mail's cost in the database.
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
    """Lease a due mail if no circuit of these accounts is open. A probe ignores the circuit."""
    if not accounts:
        return None
    for mail in Mail.objects.using(using()).raw(*_statement(lane, accounts, is_probe)):
        annotations = vars(mail)  # the columns that are no field of the model
        message_row = (mail.message_id, annotations["content"])
        mail.message = OutboxMessage.from_db(using(), ("id", "content"), message_row)
        leased = next(account for account in accounts if account.alias == mail.alias)
        return Lease(mail, leased, bool(annotations["has_files"]), is_probe)
    return None


def _statement(lane: Mail.Lane, accounts: Sequence[Account], is_probe: bool) -> tuple[str, dict[str, Any]]:
    connection = connections[using()]
    is_sqlite = connection.vendor == "sqlite"  # the clock of this process, and a single writer
    now, later = ("%(now)s", "") if is_sqlite else ("statement_timestamp()", "statement_timestamp() + ")
    parameters: dict[str, Any] = {"lane": lane.value, "attempt": secrets.randbits(62) + 1}
    clock = timezone.now()
    adapt = connection.ops.adapt_datetimefield_value
    if is_sqlite:
        parameters["now"] = adapt(clock)
    for number, account in enumerate(accounts):
        duration = lease_duration(account)
        parameters[f"alias{number}"] = account.alias
        parameters[f"account{number}"] = account.fingerprint
        parameters[f"lease{number}"] = adapt(clock + duration) if is_sqlite else duration
    numbers = range(len(accounts))
    fingerprints = ", ".join(f"%(account{number})s" for number in numbers)
    sql = _ACQUIRE.format(
        now=now,
        fingerprints=" ".join(f"WHEN %(alias{number})s THEN %(account{number})s" for number in numbers),
        leases=" ".join(f"WHEN %(alias{number})s THEN {later}%(lease{number})s" for number in numbers),
        aliases=", ".join(f"%(alias{number})s" for number in numbers),
        may_post="TRUE" if is_probe else _ALL_CIRCUITS_CLOSED.format(fingerprints=fingerprints),
        lock="" if is_sqlite else "FOR UPDATE SKIP LOCKED",
        columns=", ".join(str(field.column) for field in Mail._meta.concrete_fields),
    )
    return sql, parameters
