"""`floor`: our deployment beside a bare loop that decodes the same events and runs the same SQL.

The loop has no web server, stream, tasks, leases or receivers: only the work that no design can avoid.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks import counting, deployments, rounds, traffic
from benchmarks.end_to_end import ROUNDS, Ours, rate
from benchmarks.traffic import Traffic

if TYPE_CHECKING:
    from events_app.models import NewEvent
    from events_app.signals import TrackingEvent

#: Events of a round, the same as in `end_to_end_1000`.
EVENTS = 30_000


def main() -> None:
    ours = Ours()
    seeds = iter(range(1000))

    def made() -> Traffic:
        return traffic.make(deployments.sender(), EVENTS, 1000, next(seeds))

    def floor() -> float:
        about = made()
        ours.expect(about)
        began = time.perf_counter()
        _store(about)
        return EVENTS / (time.perf_counter() - began)

    with ExitStack() as stack:
        ours.start(stack)
        rate(ours, traffic.make(deployments.sender(), 1000, 1000, next(seeds)))
        rounds.report(*rounds.alternate(lambda: rate(ours, made()), floor, ROUNDS))


def _store(about: Traffic) -> None:
    from events_app.tasks import BATCH  # noqa: PLC0415
    from events_app.views.split import split  # noqa: PLC0415 (it needs the apps)

    raws = [raw for post in about.posts for raw in split(post.body)]
    for at in range(0, len(raws), BATCH):
        _store_batch(raws[at : at + BATCH])


def _store_batch(raws: Sequence[bytes]) -> None:
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from events_app import sql  # noqa: PLC0415
    from events_app.models import PendingDelivery  # noqa: PLC0415
    from sending_app.outcome import events as outcome_events  # noqa: PLC0415

    now = timezone.now()
    found = new_events(raws, now)
    with transaction.atomic():
        ids = sql.insert_new_events([row for row, _ in found.values()], "default")
        sql.insert_deliveries(list(ids.values()), 1, timedelta(minutes=2), "default")
        events = [found[key][1] for key in ids]
        outcome_events.apply_events(events, [now] * len(events))
    for _ in ids:
        counting.count()
    PendingDelivery.objects.filter(pk__in=list(ids.values())).delete()


def new_events(raws: Sequence[bytes], now: datetime) -> "dict[bytes, tuple[NewEvent, TrackingEvent]]":
    """The rows of the events without duplicates, by key, each with the event."""
    from events_app.decode import dedupe_key  # noqa: PLC0415
    from events_app.models import NewEvent  # noqa: PLC0415
    from events_app.normalize import read_event  # noqa: PLC0415

    found = {dedupe_key(found): (raw, event) for raw in raws for found, event in [read_event(raw)]}
    return {
        key: (
            NewEvent(
                key=key,
                event_type=event.event_type.value,
                event_id=event.event_id or "",
                message_id=event.message_id or "",
                recipient=event.recipient or "",
                timestamp=event.timestamp,
                received_at=now,
                webhook="tracking",
                raw=raw,
            ),
            event,
        )
        for key, (raw, event) in found.items()
    }


if __name__ == "__main__":
    main()
