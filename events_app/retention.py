"""Events at the end of their retention go, in slices, so that no lock is held for long."""

import logging
from datetime import datetime, timedelta

from django.db import router, transaction

from events_app import counters
from events_app.claims import Claim
from events_app.conf import RETENTION_DAYS
from events_app.models import Event, Work, database_now

logger = logging.getLogger(__name__)

#: Events one transaction looks at, and removes at the most.
SLICE = 1000


def prune(claim: Claim) -> bool:
    """Remove events that came longer ago than EVENT_RETENTION_DAYS. False when the budget ended first.

    What a receiver is still owed stays until it is done or dead. Raises what the database raises.
    """
    days = RETENTION_DAYS.get()
    if days is None:
        return True
    using = router.db_for_write(Event)
    before = database_now(using) - timedelta(days=days)
    last: int | None = 0
    while last is not None:
        if not claim.has_budget():
            return False
        last = _prune_slice(last, before, using)
    return True


def _prune_slice(after: int, before: datetime, using: str) -> int | None:
    """Look at the events after the id `after`; answer the last id, or None at the first young slice.

    Ids follow the order in which events were stored, and that is about the order in which they came.
    """
    with transaction.atomic(using=using):
        events = Event.objects.using(using)
        found = list(events.filter(pk__gt=after).order_by("pk").values_list("pk", "received_at")[:SLICE])
        old = [pk for pk, received_at in found if received_at < before]
        if not old:
            return None
        # Locked, as a replay locks them: it opens work either before we look for it, or never.
        old = list(events.filter(pk__in=old).order_by("pk").select_for_update().values_list("pk", flat=True))
        work = Work.objects.using(using).filter(event__in=old)
        owed = set(work.filter(state=Work.State.OWED).values_list("pk", flat=True))
        going = [pk for pk in old if pk not in owed]
        dead, _ = work.filter(pk__in=going).delete()
        events.filter(pk__in=going).delete()
    counters.count(counters.PRUNED, len(going))
    counters.count(counters.PRUNED_DEAD, dead)
    if dead:
        logger.warning("Removed %d events that were dead, at the end of their retention", dead)
    return found[-1][0] if len(found) == SLICE else None
