"""What is done at intervals: old events go, and a beat that is missing is missed."""

import time

from events_app.shared import counters
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import LONG_AGO, STREAM, Deployment, event_ids, once_each
from tests.support.flows.receivers_app import behaviours


def test_retention_removes_old_events_and_keeps_pending_ones(deployment: Deployment) -> None:
    deployment.web()
    # A look by the default retention would count as the look of this hour.
    deployment.configure(EVENT_RETENTION_DAYS=0)
    keeping = deployment.worker(name="keeping")
    events = generate_events(20)
    failing = event_ids(events)[0]
    deployment.call_log.order(failing, behaviours.fail)
    assert deployment.post([*events, b'"dead"']) == 200
    deployment.wait_until(
        lambda: len(deployment.dead_letters()) == 1 and deployment.pending() == {failing}, "all but one done"
    )
    keeping.stop()
    old = ", ".join(f"'{event_id}'" for event_id in ["", *event_ids(events)[:10]])
    deployment.execute(f"UPDATE events_app_event SET received_at = '{LONG_AGO}' WHERE event_id IN ({old})")

    deployment.configure(EVENT_RETENTION_DAYS=2)
    deployment.worker(name="pruning")

    deployment.wait_until_counted(10, counters.EVENTS_PRUNED)
    deployment.wait_until_counted(1, counters.DEAD_LETTERS_PRUNED)
    kept = {event_id for (event_id,) in deployment.query("SELECT event_id FROM events_app_event")}
    assert kept == {failing, *event_ids(events)[10:]}
    assert deployment.work().keys() == {failing}


@on_sqlite
def test_a_worker_without_beat_reports_the_late_tick_and_works_on(deployment: Deployment) -> None:
    deployment.web()
    worker = deployment.worker_without_beat()
    deployment.wait_until(lambda: "] ended" in worker.output(), "the tick at its start")
    with deployment.redis() as redis:
        redis.set(f"{STREAM}:beat", int(time.time()) - 60)
        redis.delete(f"{STREAM}:tick")  # or the drain's look would come too early
    events = generate_events(20)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.called() == once_each(events)
    deployment.wait_until(lambda: "Is beat running" in worker.output(), "beat reported as late")
    deployment.wait_until_counted(1, counters.TICKS_LATE)
