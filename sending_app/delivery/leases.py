"""The lease of a mail: a conditional update gives the mail to a single worker for the time of a post.

The row keeps the token of the attempt. So a late worker cannot write over the result of a newer attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from celery import current_task
from django.db.models import QuerySet

from events_app.shared.database import sql_now
from sending_app import conf, sql
from sending_app.account import Account, usable
from sending_app.delivery import circuit_breaker
from sending_app.models import Mail
from sending_app.outbox import using


@dataclass(frozen=True)
class LeasedMail:
    """A mail leased by a worker, with the account for the post."""

    mail: Mail
    account: Account
    #: Whether the message has attachments.
    has_files: bool
    #: A recipient is suppressed, perhaps in a scope that is not the mail's.
    is_any_suppressed: bool = False
    #: The account's circuit is half-open, and this post is the probe.
    is_probe: bool = False


def acquire(lane: Mail.Lane) -> LeasedMail | None:
    """Lease the lane's longest due mail, or a random due mail as a probe. None if no mail is due."""
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


def any_mail_due(lane: Mail.Lane) -> bool:
    """Whether `acquire` would find a mail."""
    open_circuits = circuit_breaker.open_circuits()
    allowed = [account for account in usable() if open_circuits.get(account.fingerprint, True)]
    return _due(lane, allowed).exists()


def lease_time(account: Account) -> timedelta:
    """Duration of a lease. If a mail is still posting at the end, the worker has died."""
    # Twice the timeout: a large body takes a while to upload, and every socket operation may wait so long.
    return timedelta(seconds=2 * sum(account.timeout) + 30)


def _due(lane: Mail.Lane, accounts: Sequence[Account]) -> "QuerySet[Mail]":
    """The lane's due mails of the mailers with these accounts."""
    return Mail.objects.filter(
        state=Mail.State.WAITING,
        lane=lane,
        due__lte=sql_now(using()),
        alias__in=[account.alias for account in accounts],
    )


def _acquire(lane: Mail.Lane, accounts: Sequence[Account], is_probe: bool = False) -> LeasedMail | None:
    """Lease a due mail if no circuit of these accounts is open. A probe ignores the circuit.

    A probe takes a random mail: among many mails that open the circuit alone, each next mail would open the
    circuit for longer. Mails that have paused the account come last.
    """
    if not accounts:
        return None
    lease_times = {account: lease_time(account) for account in accounts}
    looks_up = conf.SUPPRESSION.get()
    row = sql.lease_mail(using(), lane, lease_times, is_probe, _task_id(), looks_up=looks_up)
    if row is None:
        return None
    mail, has_files, is_any_suppressed = row
    account = next(account for account in accounts if account.alias == mail.alias)
    return LeasedMail(mail, account, has_files, is_any_suppressed, is_probe)


def _task_id() -> str:
    """The id of the Celery task that runs this code; empty outside a task."""
    return str(current_task.request.id or "")[:64] if current_task else ""
