"""Operator actions on mails: retry, cancel, and settle an unknown outcome.

No action changes a mail while a worker is posting the mail. Proof of acceptance overrides an operator: the
mail is accepted. An action returns numbers of mails:

- `retried`, `cancelled` or `settled`: changed by the action;
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

from events_app.shared.database import database_now
from sending_app.models import Mail
from sending_app.outbox import using
from sending_app.outcome import recipients, record

State = Mail.State

#: Mails that a transaction changes; a mail may have a thousand recipients.
SLICE = 100


def retry_mails(pks: Sequence[int], with_refused: bool = False) -> Counter[str]:
    """Post failed and deferred mails now. Mails with refused recipients are only posted `with_refused`.

    The count of attempts goes on. The age begins anew, or the age limit would fail the mails at once.
    """

    def retry(mail: Mail, now: datetime) -> bool:
        changes = {**_due(now), "paused_at": None}
        if mail.state == State.FAILED:
            # A failed part of a split mail is a mail of its own from now on, with a search of its own.
            changes |= {
                "finished_at": None,
                "split_from": None,
                "further_requests": 0,
                "refusal_named": False,
            }
        retried = _change(mail, now, "retried", **changes)
        if retried and mail.state == State.FAILED:
            recipients.requeue(mail)
        return retried

    failed = _mails(pks).filter(state=State.FAILED)
    empty = failed.filter(personalizations=None).count()
    refused = 0 if with_refused else failed.filter(refused=True, personalizations__isnull=False).count()
    retried = _apply(retry, retryable_mails(pks, with_refused), pks, "retried")
    return retried + Counter(empty=empty, refused=refused)


def retryable_mails(pks: Sequence[int], with_refused: bool = False) -> "QuerySet[Mail]":
    """The mails that `retry_mails` would change."""
    deferred = Q(state=State.WAITING, due__gt=database_now(using()))
    failed = Q(state=State.FAILED, personalizations__isnull=False)
    return _mails(pks).filter(deferred | (failed if with_refused else failed & Q(refused=False)))


def cancel_mails(pks: Sequence[int]) -> Counter[str]:
    """Cancel waiting and unsettled mails. SendGrid still sends a mail that it has accepted."""

    def cancel(mail: Mail, now: datetime) -> bool:
        cancelled = _change(mail, now, "cancelled", state=State.CANCELLED, finished_at=now)
        if cancelled:
            recipients.mark_failed(mail)
        return cancelled

    return _apply(cancel, cancellable_mails(pks), pks, "cancelled")


def cancellable_mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `cancel_mails` would change."""
    return _mails(pks).filter(state__in=(State.WAITING, State.UNKNOWN, State.PARKED))


def settle_mails(pks: Sequence[int], sent: bool) -> Counter[str]:
    """Mark unknown and parked mails as sent, or post the mails again as not sent."""

    def settle(mail: Mail, now: datetime) -> bool:
        if not sent:
            return _change(mail, now, "settled as not sent", **_due(now))
        accepted_at = Coalesce("accepted_at", Value(now))
        changes = {"state": State.ACCEPTED, "accepted_at": accepted_at, "finished_at": now}
        return _change(mail, now, "settled as sent", **changes, error="", refused=False)

    return _apply(settle, unsettled_mails(pks), pks, "settled")


def unsettled_mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `settle_mails` would change."""
    return _mails(pks).filter(state__in=(State.UNKNOWN, State.PARKED))


def _mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    return Mail.objects.using(using()).filter(pk__in=sorted(pks))


def _apply(
    act: Callable[[Mail, datetime], bool], rows: "QuerySet[Mail]", pks: Sequence[int], done: str
) -> Counter[str]:
    with transaction.atomic(using=using()):
        in_progress = _mails(pks).filter(state=State.POSTING).count()
        # Locked in order, like every multi-row write. Mails that a worker has leased meanwhile drop out.
        locked = rows.order_by("pk").select_for_update().defer("personalizations")
        now = database_now(using())
        changed = [act(mail, now) for mail in locked]
    return Counter({done: sum(changed), "in_progress": in_progress, "accepted": changed.count(False)})


def _due(now: datetime) -> dict[str, Any]:
    return {"state": State.WAITING, "due": now, "created_at": now, "error": ""}


def _change(mail: Mail, now: datetime, action: str, **changes: Any) -> bool:
    # Check the state again: SQLite locks no rows.
    row = _mails([mail.pk]).filter(state=mail.state, attempt_token=mail.attempt_token)
    log = record.log_with(mail, now, f"by hand: {action}")
    return record.update_unless_accepted(row, {**changes, "log": log})
