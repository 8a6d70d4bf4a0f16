"""The facts about the workers of events and inbound mails."""

from collections.abc import Iterator

from events_app import tasks
from events_app.inbound import storage
from events_app.shared.facts import REDIS, Depth, Reading, source
from events_app.shared.heartbeats import read_queues


@source(Depth.READINESS, REDIS)
def read_event_workers() -> Iterator[Reading]:
    """Say which queue has no worker."""
    work = {tasks.EVENTS: "new events", tasks.RETRIES: "retries of events"}
    work[tasks.RECOVERY] = "events of workers that died"
    if storage.is_configured():
        work[tasks.INBOUND] = "inbound mails"
    return read_queues(work)
