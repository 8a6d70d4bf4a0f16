"""What an operator decides about mails: to try them again now, to give them up, whether SendGrid has them.

A mail that is being posted is left to its worker, and what shows that SendGrid has a mail stands above what
anybody decides: then it is accepted.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce

from events_app.shared.database import database_now
from sending_app.models import Mail
from sending_app.outbox import using
from sending_app.outcome import recipients, record

State = Mail.State

#: Mails that are changed in one transaction; each can have a thousand recipients.
SLICE = 100


class ActionResult(NamedTuple):
    """What came of it."""

    #: Done as was asked.
    changed: int
    #: Left alone: a worker posts them.
    in_progress: int
    #: Left alone: there is proof that SendGrid has them. They are accepted.
    accepted: int = 0
    #: Left alone: what they said is gone, at the end of its retention.
    empty: int = 0


def retry(pks: Sequence[int]) -> ActionResult:
    """Have failed mails, and those put off to a later time, posted now.

    The count of their attempts goes on. Their age begins anew, or they would be given up for it at once.
    """
    empty = _mails(pks).filter(state=State.FAILED, personalizations=None).count()
    return _each(retryable(pks), _retry, pks)._replace(empty=empty)


def retryable(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `retry` would take."""
    put_off = Q(state=State.WAITING, due__gt=database_now(using()))
    return _mails(pks).filter(put_off | Q(state=State.FAILED, personalizations__isnull=False))


def cancel(pks: Sequence[int]) -> ActionResult:
    """Give up mails that wait or are unsettled. What SendGrid has already it sends all the same."""
    return _each(cancellable(pks), _cancel, pks)


def cancellable(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `cancel` would take."""
    return _mails(pks).filter(state__in=(State.WAITING, State.UNKNOWN, State.PARKED))


def settle(pks: Sequence[int], sent: bool) -> ActionResult:
    """Say whether SendGrid has mails of which nobody knows. Those it does not have are posted again."""
    return _each(unsettled(pks), _mark_sent if sent else _mark_not_sent, pks)


def unsettled(pks: Sequence[int]) -> "QuerySet[Mail]":
    """The mails that `settle` would take."""
    return _mails(pks).filter(state__in=(State.UNKNOWN, State.PARKED))


def _mails(pks: Sequence[int]) -> "QuerySet[Mail]":
    return Mail.objects.using(using()).filter(pk__in=sorted(pks))


def _each(rows: "QuerySet[Mail]", act: Callable[[Mail, datetime], bool], pks: Sequence[int]) -> ActionResult:
    with transaction.atomic(using=using()):
        in_progress = _mails(pks).filter(state=State.POSTING).count()
        # Locked in order, as every multi-row write; what a worker has taken since is none of these any more.
        locked = rows.order_by("pk").select_for_update().defer("personalizations")
        now = database_now(using())
        done = [act(mail, now) for mail in locked]
    return ActionResult(sum(done), in_progress, accepted=len(done) - sum(done))


def _retry(mail: Mail, now: datetime) -> bool:
    again = _change(mail, now, "to be sent again", **_due(now), finished_at=None)
    if again and mail.state == State.FAILED:
        recipients.requeue(mail)
    return again


def _cancel(mail: Mail, now: datetime) -> bool:
    cancelled = _change(mail, now, "cancelled", state=State.CANCELLED, finished_at=now)
    if cancelled:
        recipients.fail(mail)
    return cancelled


def _mark_sent(mail: Mail, now: datetime) -> bool:
    accepted_at = Coalesce("accepted_at", Value(now))
    has_it = {"state": State.ACCEPTED, "accepted_at": accepted_at, "finished_at": now, "error": ""}
    return _change(mail, now, "SendGrid has it", **has_it)


def _mark_not_sent(mail: Mail, now: datetime) -> bool:
    return _change(mail, now, "SendGrid does not have it; to be sent again", **_due(now))


def _due(now: datetime) -> dict[str, Any]:
    return {"state": State.WAITING, "due": now, "created_at": now, "error": ""}


def _change(mail: Mail, now: datetime, what: str, **changes: Any) -> bool:
    # The state once more: on SQLite rows are not locked.
    row = Mail.objects.using(using()).filter(pk=mail.pk, state=mail.state, attempt_token=mail.attempt_token)
    return record.update_unless_accepted(
        row, {**changes, "log": record.log_with(mail, now, f"by hand: {what}")}
    )
