"""What an operator decides about mails: to try them again now, to give them up, whether SendGrid has them.

A part that is being posted is left to its worker, and what shows that SendGrid has a part stands above what
anybody decides: then it is accepted.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce

from events_app.shared.database import database_now
from sending_app.models import Part
from sending_app.outbox import using
from sending_app.outcome import recipients, record

State = Part.State

#: Parts that are changed in one transaction; each can have a thousand recipients.
SLICE = 100


class Did(NamedTuple):
    """What came of it."""

    #: Done as was asked.
    changed: int
    #: Left alone: a worker posts them.
    in_progress: int
    #: Left alone: there is proof that SendGrid has them. They are accepted.
    accepted: int = 0
    #: Left alone: what they said is gone, at the end of its retention.
    empty: int = 0


def retry(pks: Sequence[int]) -> Did:
    """Have failed parts, and those put off to a later time, posted now.

    The count of their attempts goes on. Their age begins anew, or they would be given up for it at once.
    """
    empty = _parts(pks).filter(state=State.FAILED, envelopes=None).count()
    return _each(retryable(pks), _again, pks)._replace(empty=empty)


def retryable(pks: Sequence[int]) -> "QuerySet[Part]":
    """The parts that `retry` would take."""
    put_off = Q(state=State.WAITING, due__gt=database_now(using()))
    return _parts(pks).filter(put_off | Q(state=State.FAILED, envelopes__isnull=False))


def cancel(pks: Sequence[int]) -> Did:
    """Give up parts that wait or are unsettled. What SendGrid has already it sends all the same."""
    return _each(cancellable(pks), _give_up, pks)


def cancellable(pks: Sequence[int]) -> "QuerySet[Part]":
    """The parts that `cancel` would take."""
    return _parts(pks).filter(state__in=(State.WAITING, State.UNKNOWN, State.PARKED))


def settle(pks: Sequence[int], sent: bool) -> Did:
    """Say whether SendGrid has parts of which nobody knows. Those it does not have are posted again."""
    return _each(unsettled(pks), _take_as_sent if sent else _take_as_not_sent, pks)


def unsettled(pks: Sequence[int]) -> "QuerySet[Part]":
    """The parts that `settle` would take."""
    return _parts(pks).filter(state__in=(State.UNKNOWN, State.PARKED))


def _parts(pks: Sequence[int]) -> "QuerySet[Part]":
    return Part.objects.using(using()).filter(pk__in=sorted(pks))


def _each(rows: "QuerySet[Part]", act: Callable[[Part, datetime], bool], pks: Sequence[int]) -> Did:
    with transaction.atomic(using=using()):
        in_progress = _parts(pks).filter(state=State.POSTING).count()
        # Locked in order, as every multi-row write; what a worker has taken since is none of these any more.
        locked = rows.order_by("pk").select_for_update().defer("envelopes")
        now = database_now(using())
        done = [act(part, now) for part in locked]
    return Did(sum(done), in_progress, accepted=len(done) - sum(done))


def _again(part: Part, now: datetime) -> bool:
    again = _change(part, now, "to be sent again", **_due(now), finished_at=None)
    if again and part.state == State.FAILED:
        recipients.queue_again(part)
    return again


def _give_up(part: Part, now: datetime) -> bool:
    cancelled = _change(part, now, "cancelled", state=State.CANCELLED, finished_at=now)
    if cancelled:
        recipients.fail(part)
    return cancelled


def _take_as_sent(part: Part, now: datetime) -> bool:
    accepted_at = Coalesce("accepted_at", Value(now))
    has_it = {"state": State.ACCEPTED, "accepted_at": accepted_at, "finished_at": now, "error": ""}
    return _change(part, now, "SendGrid has it", **has_it)


def _take_as_not_sent(part: Part, now: datetime) -> bool:
    return _change(part, now, "SendGrid does not have it; to be sent again", **_due(now))


def _due(now: datetime) -> dict[str, Any]:
    return {"state": State.WAITING, "due": now, "created_at": now, "error": ""}


def _change(part: Part, now: datetime, what: str, **changes: Any) -> bool:
    # The state once more: on SQLite rows are not locked.
    row = Part.objects.using(using()).filter(pk=part.pk, state=part.state, attempt=part.attempt)
    return record.change(row, {**changes, "log": record.logged(part, now, f"by hand: {what}")})
