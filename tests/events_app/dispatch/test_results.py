"""The result of a delivery is written once, by the holder of the lease, also after an outage."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import OperationalError, connections
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.dispatch import leases, results
from events_app.dispatch.leases import ORPHANED, Lease
from events_app.dispatch.results import LONGEST_BACKOFF, ResultBuffer
from events_app.models import PendingDelivery
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable, database_now
from tests.support.databases import database_away, on_postgresql, plans_without_primary_key
from tests.support.events.leases import (
    dead_letters,
    leased_ids,
    out_of_budget,
    out_of_lease,
    pending_ids,
    store_leased,
)

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def buffer_with_results(
    lease: Lease, *, finished: str = "A1", begun: str = "B2", left: str = "C3"
) -> ResultBuffer:
    """The results of three events: done, interrupted by an outage, not begun."""
    buffer = ResultBuffer(lease)
    buffer.done = [pk(finished)]
    buffer.interrupted = {pk(begun): {"shop": "Traceback \0 the end"}}
    buffer.released = [pk(left)]
    return buffer


def pk(event_id: str) -> int:
    return PendingDelivery.objects.get(event__event_id=event_id).event_id


def rows() -> dict[str, tuple[int | None, dict[str, str]]]:
    found = PendingDelivery.objects.filter(state="pending").values_list(
        "event__event_id", "lease", "receivers"
    )
    return {event_id: (lease, receivers) for event_id, lease, receivers in found}


# What is written at a batch's end


def test_closing_results_deletes_done_events_and_releases_or_orphans_the_others(database: str) -> None:
    lease = Lease()
    store_leased("A1", "B2", "C3", lease=lease)
    buffer_with_results(lease).close()
    assert rows() == {"B2": (ORPHANED, {"shop": "Traceback  the end"}), "C3": (None, {})}
    assert counters.read_counters() == {"events_released": 1}
    assert leased_ids(leases.take_released(Lease(), 10)) == ["C3"]
    taken = leases.take_expired(Lease())
    assert taken is not None
    assert (leased_ids([taken]), taken.worker_deaths) == (["B2"], 0)


@on_postgresql
def test_results_never_read_the_indexes_of_lanes(database: str) -> None:
    """Without statistics PostgreSQL would prefer these, with all deliveries done since the last vacuum."""
    lease = Lease()
    done, released, retried = store_leased("A1", "B2", "C3", lease=lease)

    def write() -> None:
        buffer = ResultBuffer(lease)
        buffer.done, buffer.released = [done.pk], [released.pk]
        buffer.close()
        results.schedule_retry(retried, lease, {"receiver": "an error"})

    plans = plans_without_primary_key(database, "events_app_pendingdelivery", write)
    assert PendingDelivery.objects.count() == 2
    assert "Seq Scan on events_app_pendingdelivery" in plans
    assert "pending_" not in plans.replace("events_app_pending", "")


def test_events_without_a_receiver_are_counted_once(database: str) -> None:
    buffer = ResultBuffer(Lease())
    buffer.without_receiver = 2
    buffer.close()
    buffer.close()
    assert counters.read_counters() == {"events_without_receiver": 2}


def test_results_are_not_written_on_rows_leased_by_another_worker(database: str) -> None:
    slow, fast = Lease(), Lease()
    pks = store_leased("A1", "B2", "C3", "D4", "E5", "F6", lease=slow)
    buffer = buffer_with_results(slow)
    PendingDelivery.objects.update(lease=fast.token)
    buffer.close()
    to_retry, to_release, unreadable = pks[3:]
    results.schedule_retry(to_retry, slow, {"shop": "Traceback"})
    results.release_delivery(to_release, slow, {"shop": ""})
    results.move_to_dead_letters(unreadable, slow, "It is not JSON.")
    assert rows() == dict.fromkeys(["A1", "B2", "C3", "D4", "E5", "F6"], (fast.token, {}))
    assert counters.read_counters() == {}


def test_an_expired_lease_releases_nothing(database: str) -> None:
    lease = Lease()
    store_leased("A1", lease=lease)
    buffer = ResultBuffer(out_of_lease(lease))
    buffer.released = [pk("A1")]
    buffer.close()
    assert rows() == {"A1": (lease.token, {})}


def test_done_marks_are_written_each_second(database: str) -> None:
    lease = Lease()
    store_leased("A1", "B2", "C3", lease=lease)
    buffer = ResultBuffer(lease)
    buffer.done = [pk("A1"), pk("B2")]
    buffer._last_write += 3600
    buffer.write_when_due()
    assert pending_ids() == ["A1", "B2", "C3"]
    buffer._last_write -= 7200
    buffer.write_when_due()
    assert pending_ids() == ["C3"]
    buffer.done = [pk("C3")]
    buffer.write_when_due()
    assert pending_ids() == ["C3"]


def test_done_marks_that_cannot_be_written_yet_are_written_at_the_end(database: str) -> None:
    lease = Lease()
    store_leased("A1", lease=lease)
    buffer = ResultBuffer(lease)
    buffer.done = [pk("A1")]
    buffer._last_write -= 7200
    with database_away(database), pytest.raises(DatabaseUnavailable):
        buffer.write_when_due()
    buffer.close()
    assert pending_ids() == []


# What could not be written


def test_unwritten_results_are_written_by_a_later_task(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    lease = Lease()
    store_leased("A1", "B2", "C3", lease=lease)
    buffer = buffer_with_results(lease)
    with database_away(database):
        buffer.close()
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                results.unwritten.flush()
    assert caplog.messages == ["Results of deliveries wait for the database: OperationalError"]
    assert rows() == dict.fromkeys(["A1", "B2", "C3"], (lease.token, {}))
    results.unwritten.flush()
    assert rows() == {"B2": (ORPHANED, {"shop": "Traceback  the end"}), "C3": (None, {})}
    assert not results.unwritten.writes


def test_unwritten_results_of_several_batches_wait_together(database: str) -> None:
    for event_id in ("A1", "B2"):
        lease = Lease()
        store_leased(event_id, lease=lease)
        buffer = ResultBuffer(lease)
        buffer.done = [pk(event_id)]
        with database_away(database):
            buffer.close()
    assert pending_ids() == ["A1", "B2"]
    results.unwritten.flush()
    assert pending_ids() == []


def test_concurrent_threads_write_unwritten_results_once(database: str) -> None:
    lease = Lease()
    names = [f"A{number}" for number in range(12)]
    store_leased(*names, lease=lease)
    buffers = [ResultBuffer(lease) for _ in names]
    for buffer, name in zip(buffers, names, strict=True):
        buffer.done = [pk(name)]
    with database_away(database):
        for buffer in buffers:
            buffer.close()
    together = Barrier(3)

    def write(_: int) -> None:
        together.wait()
        try:
            results.unwritten.flush()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert pending_ids() == []


def test_results_of_a_lease_out_of_budget_are_written(database: str) -> None:
    lease = Lease()
    store_leased("A1", "B2", "C3", lease=lease)
    buffer = buffer_with_results(out_of_budget(lease))
    with database_away(database):
        buffer.close()
    results.unwritten.flush()
    assert pending_ids() == ["B2", "C3"]


def test_unwritten_results_are_dropped_when_their_lease_expires(database: str) -> None:
    lease = Lease()
    store_leased("A1", "B2", "C3", lease=lease)
    buffer = buffer_with_results(out_of_lease(lease))
    with database_away(database):
        buffer.close()
    results.unwritten.flush()
    assert rows() == dict.fromkeys(["A1", "B2", "C3"], (lease.token, {}))
    assert not results.unwritten.writes


# A receiver has failed


@pytest.fixture
def thrice(anymail: Callable[..., None]) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=3, RECEIVER_RETRY_DELAY=60)


@pytest.mark.usefixtures("thrice")
def test_a_failure_schedules_a_retry_with_backoff(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    item = item._replace(failures=1)
    before = database_now(database)
    results.schedule_retry(item, lease, {"shop": "Traceback"})
    work = PendingDelivery.objects.get()
    assert (work.state, work.lease, work.failures, work.error) == ("pending", None, 2, "")
    assert work.receivers == {"shop": "Traceback"}
    earliest, latest = timedelta(seconds=120 * 0.75), timedelta(seconds=120 * 1.25)
    assert before + earliest <= work.due <= database_now(database) + latest
    assert counters.read_counters() == {}


@pytest.mark.usefixtures("thrice")
def test_after_the_last_attempt_the_event_is_a_dead_letter_with_each_traceback(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    results.schedule_retry(item._replace(failures=2), lease, {"shop": "Traceback 1", "bank": "Traceback 2"})
    (work,) = dead_letters()
    assert (work.lease, work.failures) == (None, 3)
    assert work.receivers == {"shop": "Traceback 1", "bank": "Traceback 2"}
    assert work.error == "Given up: a receiver failed 3 times."
    assert counters.read_counters() == {"dead_letters receiver_failed": 1}


def test_an_unstorable_traceback_is_cleaned_and_cut(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    results.schedule_retry(item, lease, {"shop": "the start" + "x" * 30_000 + "\0\ud800 the end", "bank": ""})
    kept = PendingDelivery.objects.get().receivers
    assert (len(kept["shop"]), kept["bank"]) == (20_000, "")
    assert kept["shop"].endswith("x\ufffd the end")


def test_released_receivers_stay_pending_without_a_failure(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    results.release_delivery(item, lease, {"shop": "", "bank": ""})
    assert rows() == {"A1": (None, {"shop": "", "bank": ""})}
    (taken,) = leases.take_released(Lease(), 10)
    assert (taken.failures, taken.receivers) == (0, {"shop": "", "bank": ""})


def test_an_undeliverable_event_becomes_a_dead_letter_with_a_reason(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    results.move_to_dead_letters(item, lease, "It is\0 not JSON\ud800.")
    (work,) = dead_letters()
    assert (work.lease, work.failures, work.error) == (None, 0, "It is not JSON\ufffd.")


def test_a_failure_that_cannot_be_written_raises(database: str) -> None:
    lease = Lease()
    (item,) = store_leased("A1", lease=lease)
    with database_away(database), pytest.raises(OperationalError):
        results.schedule_retry(item, lease, {"shop": "Traceback"})
    assert rows() == {"A1": (lease.token, {})}


# The delay


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(1, 10**6), failures=st.integers(1, 32_767))
@example(first=30, failures=1)
@example(first=30, failures=9)
@example(first=30, failures=10)
@example(first=10**6, failures=1)
def test_backoff_doubles_up_to_a_limit_with_jitter(
    anymail: Callable[..., None], first: int, failures: int
) -> None:
    anymail(RECEIVER_RETRY_DELAY=first)
    seconds = min(first * 2 ** (failures - 1), LONGEST_BACKOFF)
    for _ in range(5):
        assert 0.75 * seconds <= results.backoff(failures).total_seconds() + 1e-6
        assert results.backoff(failures).total_seconds() - 1e-6 <= 1.25 * seconds


def test_jitter_spreads_retries_that_failed_together() -> None:
    assert len({results.backoff(5) for _ in range(50)}) > 40


def test_default_backoff_spreads_all_attempts_over_about_a_day(anymail: Callable[..., None]) -> None:
    shortest = sum(min(30 * 2**number, LONGEST_BACKOFF) * 0.75 for number in range(14))
    longest = sum(min(30 * 2**number, LONGEST_BACKOFF) * 1.25 for number in range(14))
    hours = sum(results.backoff(failures).total_seconds() for failures in range(1, 15)) / 3600
    assert shortest <= hours * 3600 <= longest
    assert 18 < (shortest + longest) / 2 / 3600 < 30
