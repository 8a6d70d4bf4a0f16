"""Operator actions on mails: retry, cancel, park, and settle an unknown outcome.

No action changes a mail while a worker is posting the mail. Proof of acceptance overrides an operator: the
mail is accepted. An action returns numbers of mails:

- `retried`, `cancelled`, `parked` or `settled`: changed by the action;
- `in_progress`: left alone, because a worker is posting;
- `accepted`: there is proof of acceptance;
- `empty`: left alone, because retention has deleted the content;
- `refused`: left alone, because SendGrid refuses the recipients, and no retry changes the recipients.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce

from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.database import database_now
from sending_app.models import Mail, still_in
from sending_app.outbox import using
from sending_app.outcome import recipients, record

State = Mail.State

#: Mails that a transaction changes; a mail may have a thousand recipients.
SLICE = 100

_PARKED = "SendGrid may have this mail already."


def retry_mails(pks: Sequence[int], with_refused: bool = False, operator: Operator = BY_HAND) -> Counter[str]:
    """Post failed, rejected and deferred mails now. Mails with refused recipients only `with_refused`.

    The count of attempts goes on. The age begins anew, or the age limit would fail the mails at once.
    """

    def retry(mail: Mail, now: datetime) -> bool:
        changes = {**_due(now), "paused_at": None}
        if mail.state in (State.FAILED, State.REJECTED):
            # A failed part of a split mail is a mail of its own from now on, with a search of its own.
            changes |= {
                "finished_at": None,
                "split_from": None,
                "further_requests": 0,
                "refusal_named": False,
            }
        retried = _change(mail, now, operator, "retried", **changes)
        if retried and mail.state == State.FAILED:
            recipients.requeue(mail)
        if retried and mail.state == State.REJECTED:
            # The worker looks again who is suppressed.
            recipients.requeue_rejected(mail)
        return retried

    counts = _apply(retry, retryable_mails(pks, with_refused), pks, "retried", operator)
    return counts + count_not_retryable(pks, with_refused)


def retryable_mails(pks: Sequence[int], with_refused: bool = False) -> "QuerySet[Mail]":
    """The mails that `retry_mails` would change."""
    deferred = still_in(State.WAITING) & Q(due__gt=database_now(using()))
    failed = Q(state=State.FAILED, personalizations__isnull=False)
    rejected = Q(state=State.REJECTED, personalizations__isnull=False)
    return _mails(pks).filter(deferred | rejected | (failed if with_refused else failed & Q(refused=False)))


def count_not_retryable(pks: Sequence[int], with_refused: bool = False) -> Counter[str]:
    """Numbers of failed and rejected mails that `retry_mails` leaves alone, by reason."""
    failed = _mails(pks).filter(state=State.FAILED)
    empty = _mails(pks).filter(state__in=(State.FAILED, State.REJECTED), personalizations=None).count()
    refused = 0 if with_refused else failed.filter(refused=True, personalizations__isnull=False).count()
    return Counter(empty=empty, refused=refused)


def cancel_mails(pks: Sequence[int], operator: Operator = BY_HAND) -> Counter[str]:
    """Cancel waiting and unsettled mails. SendGrid still sends a mail that it has accepted."""

    def cancel(mail: Mail, now: datetime) -> bool:
        cancelled = _change(mail, now, operator, "cancelled", state=State.CANCELLED, finished_at=now)
        if cancelled:
            recipients.mark_failed(mail)
        return cancelled

    return _apply(cancel, cancellable_mails(pks), pks, "cancelled", operator)


def cancellable_mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `cancel_mails` would change."""
    return _mails(pks).filter(state__in=(State.WAITING, State.UNKNOWN, State.PARKED))


def park_mails(pks: Sequence[int], operator: Operator = BY_HAND) -> Counter[str]:
    """Park all mails that a worker would post or reconcile, so that none leaves without an operator.

    For a database restored from a backup: SendGrid may have got these mails after the backup.
    """

    def park(mail: Mail, now: datetime) -> bool:
        changes = record.unknown_changes(mail, ended=mail.due) if mail.state == State.POSTING else {}
        changes |= {"state": State.PARKED, "due": now, "error": f"Parked by {operator.name}: {_PARKED}"}
        return _change(mail, now, operator, "parked", **changes)

    return _apply(park, parkable_mails(pks), pks, "parked", operator)


def parkable_mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `park_mails` would change. A worker may still be posting within its lease."""
    expired = still_in(State.POSTING) & Q(due__lte=database_now(using()))
    return _mails(pks).filter(expired | Q(state__in=(State.WAITING, State.UNKNOWN)))


def settle_mails(pks: Sequence[int], sent: bool, operator: Operator = BY_HAND) -> Counter[str]:
    """Mark unknown and parked mails as sent, or post the mails again as not sent."""

    def settle(mail: Mail, now: datetime) -> bool:
        if not sent:
            return _change(mail, now, operator, "settled as not sent", **_due(now))
        accepted_at = Coalesce("accepted_at", Value(now))
        changes = {"state": State.ACCEPTED, "accepted_at": accepted_at, "finished_at": now}
        return _change(mail, now, operator, "settled as sent", **changes, error="", refused=False)

    return _apply(settle, unsettled_mails(pks), pks, "settled", operator)


def unsettled_mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `settle_mails` would change."""
    return _mails(pks).filter(state__in=(State.UNKNOWN, State.PARKED))


def count_being_posted(pks: Sequence[int]) -> Counter[str]:
    """The number of mails that every action leaves alone."""
    return Counter(in_progress=_mails(pks).filter(still_in(State.POSTING)).count())


def _mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    return Mail.objects.filter(pk__in=sorted(pks))


def _apply(
    act: Callable[[Mail, datetime], bool],
    rows: "QuerySet[Mail]",
    pks: Sequence[int],
    done: str,
    operator: Operator,
) -> Counter[str]:
    with transaction.atomic(using=using()):
        # Locked in order, like every multi-row write. Mails that a worker has leased meanwhile drop out.
        locked = list(rows.order_by("pk").select_for_update().defer("personalizations"))
        now = database_now(using())
        changed = [mail.pk for mail in locked if act(mail, now)]
        operator.record(changed)
        in_progress = count_being_posted(pks)
    return Counter({done: len(changed), "accepted": len(locked) - len(changed), **in_progress})


def _due(now: datetime) -> dict[str, Any]:
    return {"state": State.WAITING, "due": now, "created_at": now, "error": ""}


def _change(mail: Mail, now: datetime, operator: Operator, action: str, **changes: Any) -> bool:
    # Check the state again: SQLite locks no rows.
    row = _mails([mail.pk]).filter(still_in(mail.state), attempt_token=mail.attempt_token)
    log = record.log_with(mail, now, f"by {operator.name}: {action}")
    return record.update_unless_accepted(row, {**changes, "log": log})
