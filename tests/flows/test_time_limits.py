"""The time limits of a task hold although the broker's connection broke while the task ran."""

import pytest

from fake_sendgrid.events import Event, history
from ground.process import Process
from tests.flows.databases import on_postgres, on_sqlite
from tests.flows.deployment import Deployment, ids, once
from tests.flows.witness import deeds
from tests.flows.witness.book import Deed


@on_sqlite
def test_a_receiver_that_hangs_is_interrupted_after_the_broker_was_restarted(deployment: Deployment) -> None:
    events = history(40)
    hang(deployment, deeds.hold, events[:20])

    assert deployment.post(events[20:]) == 200

    held = ids(events)[5]
    deployment.wait_until(
        lambda: deployment.work().keys() == {held} and deployment.work()[held].failures, "all but one done"
    )
    assert "SoftTimeLimitExceeded" in deployment.work()[held].receivers["second"]
    assert deployment.called() == once(events)


@on_postgres
@pytest.mark.parametrize("deed", [deeds.hold_whatever_comes, deeds.hold_the_interpreter])
def test_a_receiver_that_no_soft_limit_ends_is_killed_after_the_broker_was_restarted(
    deployment: Deployment, deed: Deed
) -> None:
    events = history(40)
    worker = hang(deployment, deed, events[:20])

    assert deployment.post(events[20:]) == 200

    held = ids(events)[5]
    deployment.wait_until(lambda: ids(events[20:])[-1] in deployment.called(), "the child was replaced")
    assert worker.alive
    deployment.lapse()
    deployment.settle(stored=40)
    assert deployment.attempts(held) == [1, 2]
    assert not deployment.dead()


def hang(deployment: Deployment, deed: Deed, events: list[Event]) -> Process:
    """A worker of one process, in a receiver that hangs while the broker is restarted."""
    deployment.configure(RECEIVER_TIME_LIMIT=1)
    deployment.web()
    worker = deployment.worker("--concurrency", "1")
    held = ids(events)[5]
    deployment.book.order(held, deed, tries=1)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)
    deployment.valkey.kill()
    deployment.valkey.start()
    deployment.wait_until(lambda: "Connected to redis" in after_the_break(worker), "the worker's connection")
    return worker


def after_the_break(worker: Process) -> str:
    return worker.output().partition("Connection to broker lost")[2]
