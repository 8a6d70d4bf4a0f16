"""The time limits of a task hold although the broker's connection broke while the task ran."""

import pytest

from devstack.process import Process
from fake_sendgrid.events import Event, generate_events
from tests.support.flows.databases import on_postgres, on_sqlite
from tests.support.flows.deployment import Deployment, event_ids, once_each
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.call_log import Behaviour


@on_sqlite
def test_the_soft_time_limit_interrupts_a_hanging_receiver_after_a_broker_restart(
    deployment: Deployment,
) -> None:
    events = generate_events(40)
    hang(deployment, behaviours.hold, events[:20])

    assert deployment.post(events[20:]) == 200

    held = event_ids(events)[5]
    deployment.wait_until(
        lambda: deployment.work().keys() == {held} and deployment.work()[held].failures, "all but one done"
    )
    assert "SoftTimeLimitExceeded" in deployment.work()[held].receivers["second"]
    assert deployment.called() == once_each(events)


@on_postgres
@pytest.mark.parametrize("behaviour", [behaviours.hold_whatever_comes, behaviours.hold_the_interpreter])
def test_the_hard_time_limit_kills_a_receiver_after_a_broker_restart(
    deployment: Deployment, behaviour: Behaviour
) -> None:
    events = generate_events(40)
    worker = hang(deployment, behaviour, events[:20])

    assert deployment.post(events[20:]) == 200

    held = event_ids(events)[5]
    deployment.wait_until(lambda: event_ids(events[20:])[-1] in deployment.called(), "the child was replaced")
    assert worker.alive
    deployment.expire_leases()
    deployment.wait_until_received(stored=40)
    assert deployment.attempts(held) == [1, 2]
    assert not deployment.dead_letters()


def hang(deployment: Deployment, behaviour: Behaviour, events: list[Event]) -> Process:
    """A worker of one process, in a receiver that hangs while the broker is restarted."""
    deployment.configure(FLOW_BUDGET=3, RECEIVER_TIME_LIMIT=1)
    deployment.web()
    worker = deployment.worker("--concurrency", "1")
    held = event_ids(events)[5]
    deployment.call_log.order(held, behaviour, tries=1)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)
    deployment.valkey.kill()
    deployment.valkey.start()
    deployment.wait_until(lambda: "Connected to redis" in after_the_break(worker), "the worker's connection")
    return worker


def after_the_break(worker: Process) -> str:
    return worker.output().partition("Connection to broker lost")[2]
