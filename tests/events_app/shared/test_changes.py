"""Changes of rows: slices, counts, wake-ups, and the operator behind a change."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from events_app.models import Event
from events_app.shared.changes import Change, Operator, Target

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

TARGET = Target(Event, "event", ("type",), lambda rows: Counter())


def leaves_odd_ones_alone(ids: Sequence[int], operator: Operator) -> Counter[str]:
    even = [number for number in ids if number % 2 == 0]
    operator.record(even)
    return Counter(mended=len(even), odd=len(ids) - len(even))


def mend(**columns: Any) -> Change:
    change = Change(
        TARGET,
        verb="mend",
        done="mended",
        find=lambda ids: Event.objects.none(),
        apply=leaves_odd_ones_alone,
        left_alone={"odd": "their number is odd"},
        count_left_alone=lambda ids: Counter(odd=1),
    )
    return replace(change, **columns)


def test_a_run_counts_the_rows_of_all_slices(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "events_app.shared.changes")
    run = mend().run([[1, 2], [4, 6], [7]], matched=5)
    run.apply()
    assert list(run.report()) == ["Mended 3 of 5 events.", "2 left alone: their number is odd."]
    assert caplog.messages == ["Mended 3 events (user: None)"]


def test_a_run_without_changes_wakes_no_worker_and_logs_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "events_app.shared.changes")
    run = mend(wakes=[pytest.fail]).run([[1]], matched=1)
    run.apply()
    assert (run.done, caplog.messages) == (0, [])


def test_rows_that_vanished_are_not_reported_as_left_alone(database: str) -> None:
    run = mend(otherwise="with nothing to mend").run([[2]], matched=1)
    run.apply()
    assert list(run.report()) == ["Mended 1 of 1 event."]


class Worker:
    """Counts its wake-ups."""

    def __init__(self, answers: bool = True) -> None:
        self.answers, self.wake_ups = answers, 0

    def wake(self) -> bool:
        self.wake_ups += 1
        return self.answers


def test_workers_wake_after_the_commit_of_an_outer_transaction(database: str) -> None:
    worker = Worker()
    with transaction.atomic(using=database):
        mend(wakes=[worker.wake]).run([[2]], matched=1).apply()
        assert worker.wake_ups == 0
    assert worker.wake_ups == 1


def test_a_broker_that_does_not_answer_is_reported(database: str) -> None:
    run = mend(wakes=[Worker(answers=False).wake, Worker().wake]).run([[2]], matched=1)
    run.apply()
    assert list(run.report())[1].startswith("The broker does not answer")


def test_an_error_in_a_later_slice_wakes_the_workers_for_the_earlier_ones(database: str) -> None:
    def fail_at_four(ids: Sequence[int], operator: Operator) -> Counter[str]:
        if 4 in ids:
            raise RuntimeError
        return leaves_odd_ones_alone(ids, operator)

    worker = Worker()
    run = mend(apply=fail_at_four, wakes=[worker.wake]).run([[2], [4]], matched=2)
    with pytest.raises(RuntimeError):
        run.apply()
    assert (run.done, worker.wake_ups) == (1, 1)
