"""What a receiver does with one event costs that event time, and the others nothing."""

import pytest

from events_app.dispatch import leases
from events_app.shared import counters
from fake_sendgrid.events import generate_events
from tests.support.flows.deployment import Deployment, event_ids, once_each
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.call_log import Call


@pytest.mark.quick
def test_a_failing_receiver_is_retried_alone_and_delays_no_other_event(
    deployment: Deployment,
) -> None:
    deployment.configure(RECEIVER_RETRY_DELAY=1)
    deployment.web()
    deployment.worker()
    events = generate_events(20)
    late = event_ids(events)[5]
    deployment.call_log.order(late, behaviours.fail, tries=2)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.attempts(late) == [1, 2, 3]
    assert deployment.called() == {**once_each(events), late: 3}
    assert deployment.called("first") == deployment.called("third") == once_each(events)
    calls = deployment.call_log.calls()
    before = calls[: calls.index(Call("second", late, 2, replay=False))]
    assert {call.event_id for call in before if call.receiver == "third"} == set(event_ids(events))
    deployment.wait_until_counted(2, counters.EVENTS_RETRIED)


def test_an_event_whose_receiver_always_fails_becomes_a_dead_letter_with_the_traceback(
    deployment: Deployment,
) -> None:
    deployment.configure(RECEIVER_RETRY_DELAY=1, RECEIVER_MAX_ATTEMPTS=2)
    deployment.web()
    deployment.worker()
    events = generate_events(20)
    lost = event_ids(events)[5]
    deployment.call_log.order(lost, behaviours.fail)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.called() == {**once_each(events), lost: 2}
    assert deployment.called("first") == deployment.called("third") == once_each(events)
    assert deployment.work().keys() == {lost}
    row = deployment.work()[lost]
    assert (row.state, row.failures, row.worker_deaths) == ("dead", 2, 0)
    assert row.receivers.keys() == {"second"}
    assert "ValueError: as ordered" in row.receivers["second"]
    deployment.wait_until_counted(1, counters.DEAD_LETTERS, "receiver_failed")


def test_a_hanging_receiver_is_interrupted_by_its_time_limit_and_fails_only_its_own_event(
    deployment: Deployment,
) -> None:
    deployment.configure(FLOW_BUDGET=3, RECEIVER_TIME_LIMIT=1, RECEIVER_MAX_ATTEMPTS=1)
    deployment.web()
    deployment.worker()
    events = generate_events(20)
    hanging = event_ids(events)[5]
    deployment.hold_at(hanging)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.called() == once_each(events)
    assert deployment.dead_letters().keys() == {hanging}
    assert "SoftTimeLimitExceeded" in deployment.dead_letters()[hanging].receivers["second"]
    deployment.wait_until_counted(1, counters.RECEIVER_CALLS, "second", "timed_out")
    assert deployment.counted(counters.EVENTS_RECOVERED) == 0


def test_a_receiver_that_ignores_the_soft_time_limit_is_killed_and_its_event_recovered(
    deployment: Deployment,
) -> None:
    deployment.configure(FLOW_BUDGET=3, RECEIVER_TIME_LIMIT=1)
    deployment.web()
    worker = deployment.worker()
    events = generate_events(20)
    hanging = event_ids(events)[5]
    deployment.call_log.order(hanging, behaviours.hold_whatever_comes, tries=1)
    assert deployment.post(events) == 200

    deployment.wait_until(lambda: "Hard time limit" in worker.output(), "the process killed")
    deployment.expire_leases()

    deployment.wait_until_received(stored=20)
    assert not deployment.dead_letters()
    assert deployment.attempts(hanging) == [1, 2]
    assert deployment.counted(counters.RECEIVER_CALLS, "second", "timed_out") == 0
    # Those before it were done, but not a second ago, so they may not have been marked as done.
    times = deployment.called()
    assert {event_id: times[event_id] for event_id in event_ids(events)[6:]} == once_each(events[6:])
    assert set(times) == set(event_ids(events))


def test_any_exception_of_a_receiver_is_a_failed_attempt(deployment: Deployment) -> None:
    deployment.configure(RECEIVER_RETRY_DELAY=1)
    deployment.web()
    worker = deployment.worker()
    events = generate_events(20)
    raising = [event_ids(events)[5], event_ids(events)[7]]
    deployment.call_log.order(raising[0], behaviours.raise_what_is_no_exception, tries=1)
    deployment.call_log.order(raising[1], behaviours.leave, tries=1)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.called() == once_each(events) | dict.fromkeys(raising, 2)
    assert deployment.called("first") == deployment.called("third") == once_each(events)
    deployment.wait_until_counted(2, counters.RECEIVER_CALLS, "second", "failed")
    assert "WorkerLost" not in worker.output()


def test_a_poison_event_kills_its_worker_alone_and_becomes_a_dead_letter(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(60)
    poison = event_ids(events)[5]
    deployment.call_log.order(poison, behaviours.take_the_process_down)

    for death in range(leases.MOST_WORKER_DEATHS + 1):
        at = 10 * death
        assert deployment.post(events[at : at + 10]) == 200
        deployment.wait_for_call(poison, attempt=death + 1)
        # The leases of other workers at work must not expire.
        deployment.wait_until(lambda: deployment.pending() <= set(event_ids(events)[:10]), "the others done")
        deployment.expire_leases()

    deployment.wait_until_received(stored=60)
    assert deployment.attempts(poison) == [1, 2, 3, 4, 5, 6]
    assert deployment.work().keys() == {poison}
    row = deployment.work()[poison]
    assert (row.state, row.failures, row.worker_deaths) == ("dead", 0, leases.MOST_WORKER_DEATHS)
    assert "its worker died" in row.error
    deployment.wait_until_counted(1, counters.DEAD_LETTERS, "worker_died")
    times = deployment.called("third")
    assert {event_id: times[event_id] for event_id in event_ids(events)[6:]} == once_each(events[6:])
    assert set(times) == set(event_ids(events)) - {poison}


@pytest.mark.parametrize("atomic", [False, True])
def test_a_receiver_that_breaks_the_transaction_fails_only_its_own_event(
    deployment: Deployment, atomic: bool
) -> None:
    deployment.configure(RECEIVER_RETRY_DELAY=1, ATOMIC_DISPATCH=atomic)
    deployment.configure(FLOW_RECEIVERS="first,second,counter")
    deployment.web()
    deployment.worker()
    events = generate_events(20)
    left_open, left_off, went_on = event_ids(events)[5:11:2]
    deployment.call_log.order(left_open, behaviours.leave_a_transaction_open, tries=1)
    deployment.call_log.order(left_off, behaviours.leave_autocommit_off, tries=1)
    deployment.call_log.order(went_on, behaviours.go_on_after_a_database_error, tries=1)

    assert deployment.post(events) == 200

    deployment.wait_until_received(stored=20)
    assert deployment.totals() == once_each(events)
    assert deployment.attempts(left_open) == deployment.attempts(left_off) == [1, 2]
    assert repeated(deployment, "second") <= {left_open, left_off, went_on}
    assert repeated(deployment, "first") == set()


def repeated(deployment: Deployment, receiver: str) -> set[str]:
    return {event_id for event_id, times in deployment.called(receiver).items() if times > 1}


def test_a_failed_receiver_unknown_to_one_worker_is_retried_by_another(
    deployment: Deployment,
) -> None:
    deployment.configure(RECEIVER_RETRY_DELAY=1)
    deployment.web()
    knows = deployment.worker(name="knows")
    events = generate_events(20)
    late = event_ids(events)[5]
    deployment.call_log.order(late, behaviours.fail)
    assert deployment.post(events) == 200
    deployment.wait_until(lambda: deployment.pending() == {late}, "the others done")
    knows.stop()
    deployment.call_log.withdraw(late)

    deployment.configure(FLOW_RECEIVERS="first,third")
    lacks = deployment.worker(name="lacks")
    deployment.wait_until(
        lambda: deployment.counted(counters.RECEIVER_CALLS, "unknown", "unknown"), "a try in vain"
    )
    lacks.stop()
    row = deployment.work()[late]
    assert row.state == "pending"
    assert row.receivers.keys() == {"second"}
    assert "No receiver of this name is connected" in row.receivers["second"]

    deployment.configure(FLOW_RECEIVERS="first,second,third")
    deployment.worker(name="knows-again")
    deployment.wait_until_received(stored=20)
    assert deployment.attempts(late)[-1] == row.failures + 1
    assert deployment.called("first") == deployment.called("third") == once_each(events)
    assert not deployment.dead_letters()
