"""The lease of a mail: a conditional update gives the mail to a single worker for the time of a post.

The row keeps the token of the attempt. So a late worker cannot write over the result of a newer attempt.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from celery import current_task
from django.db import transaction
from django.db.models import QuerySet

from events_app.shared.database import sql_now
from sending_app import conf, sql
from sending_app.account import Account, usable
from sending_app.delivery import circuit_breaker
from sending_app.group_commit import GroupCommit
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
    """Lease the lane's longest due mail, or a random due mail as a probe. None if no mail is due.

    Threads that call at the same time share a statement.
    """
    return _requests[lane].submit(_task_id())


def _lease_for_each(lane: Mail.Lane, task_ids: Sequence[str]) -> list[LeasedMail | None]:
    """A mail for each of these Celery tasks, as long as mails are due."""
    by_task: defaultdict[str, list[LeasedMail]] = defaultdict(list)
    for leased in _lease_due(lane, task_ids):
        by_task[leased.mail.task_id].append(leased)
    return [by_task[task_id].pop() if by_task[task_id] else None for task_id in task_ids]


_requests = {lane: GroupCommit(partial(_lease_for_each, lane)) for lane in Mail.Lane}


def _lease_due(lane: Mail.Lane, task_ids: Sequence[str]) -> list[LeasedMail]:
    accounts = usable()
    # Usually no circuit is open, and one statement is enough.
    leased = _lease(lane, task_ids, accounts)
    if leased or not (open_circuits := circuit_breaker.open_circuits()):
        return leased
    # In one transaction: if a later statement failed, nobody would post the mails that are leased already.
    with transaction.atomic(using=using()):
        for candidate in accounts:
            if len(leased) == len(task_ids):
                return leased
            if not open_circuits.get(candidate.fingerprint) or not _due(lane, [candidate]).exists():
                continue
            if circuit_breaker.start_probe(candidate):
                leased += _lease(lane, [task_ids[len(leased)]], [candidate], is_probe=True)
        with_closed_circuits = [account for account in accounts if account.fingerprint not in open_circuits]
        return leased + _lease(lane, task_ids[len(leased) :], with_closed_circuits)


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


def _lease(
    lane: Mail.Lane, task_ids: Sequence[str], accounts: Sequence[Account], is_probe: bool = False
) -> list[LeasedMail]:
    """Lease a due mail for each task if no circuit of these accounts is open. A probe ignores the circuit.

    A probe takes a random mail: among many mails that open the circuit alone, each next mail would open the
    circuit for longer. Mails that have paused the account come last.
    """
    if not (accounts and task_ids):
        return []
    by_alias = {account.alias: account for account in accounts}
    lease_times = {account: lease_time(account) for account in accounts}
    looks_up = conf.SUPPRESSION.get()
    rows = sql.lease_mails(using(), lane, task_ids, lease_times, is_probe, looks_up=looks_up)
    return [
        LeasedMail(mail, by_alias[mail.alias], has_files, is_any_suppressed, is_probe)
        for mail, has_files, is_any_suppressed in rows
    ]


def _task_id() -> str:
    """The id of the Celery task that runs this code; empty outside a task."""
    return str(current_task.request.id or "")[:64] if current_task else ""
