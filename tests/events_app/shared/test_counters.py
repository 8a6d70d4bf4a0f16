"""Occurrences and durations are counted, and counting never stands in the way."""

import os
from collections.abc import Callable
from math import inf

import pytest
from redis import RedisError

from events_app.shared import counters, counting, redis
from events_app.shared.counting import KEY, count, flush, gather_counts, observe
from events_app.shared.facts import Observations
from tests.support.monitoring import counted


def test_counts_add_up_and_are_read_by_name_and_labels() -> None:
    count(counters.EVENTS_DUPLICATE, by=3)
    count(counters.WAKE_UPS_FAILED)
    count(counters.EVENTS_DUPLICATE)
    count(counters.WEBHOOK_POSTS, "tracking", "403", "credentials")
    assert counters.read_counters() == {
        "wake_ups_failed": 1,
        "events_duplicate": 4,
        "webhook_posts tracking 403 credentials": 1,
    }
    assert counted("events_duplicate_total") == {(): 4}
    assert counted("webhook_posts_total") == {("tracking", "403", "credentials"): 1}


def test_a_count_of_zero_is_not_stored() -> None:
    count(counters.EVENTS_DUPLICATE, by=0)
    assert counters.read_counters() == {}
    # A rate of Prometheus begins at the first value, so that a counter without labels begins at zero.
    assert counted("events_duplicate_total") == {(): 0}
    assert counted("webhook_posts_total") == {}


def test_ordinary_counts_are_no_exceptional_counts() -> None:
    count(counters.WEBHOOK_POSTS, "tracking", "200", "accepted")
    count(counters.RECEIVER_CALLS, "shop", "ok")
    count(counters.EVENTS_STORED, "delivered")
    observe(counters.RECEIVER_SECONDS, [0.2], "shop")
    assert counters.read_counters() == {}
    assert counted("events_stored_total") == {("delivered",): 1}


def test_a_label_may_have_any_characters() -> None:
    names = ['["a", "b"]', "a b", "ä\n", ""]
    for name in names:
        count(counters.RECEIVER_CALLS, name, "failed")
    assert counted("receiver_calls_total") == {(name, "failed"): 1 for name in names}


def test_a_histogram_counts_the_observations_up_to_each_bound() -> None:
    for seconds in (0.0004, 0.001, 0.3, 4000, -1):
        observe(counters.RECEIVER_SECONDS, [seconds], "shop")
    observe(counters.RECEIVER_SECONDS, [2], "bank")
    readings = counted("receiver_seconds")
    shop, bank = readings["shop",], readings["bank",]
    assert isinstance(shop, Observations)
    assert isinstance(bank, Observations)
    assert shop.buckets == {0.001: 3, 0.01: 3, 0.1: 3, 0.5: 4, 1: 4, 5: 4, 30: 4, inf: 5}
    assert shop.total == pytest.approx(4000.3014)
    assert (bank.buckets[1], bank.buckets[5], bank.total) == (0, 1, 2)


def test_gathered_counts_go_to_redis_together() -> None:
    with gather_counts():
        for _ in range(3):
            count(counters.RECEIVER_CALLS, "shop", "failed")
            observe(counters.RECEIVER_SECONDS, [0.2], "shop")
        assert not redis.for_workers().exists(redis.key(KEY))
        flush()
        assert counters.read_counters() == {"receiver_calls shop failed": 3}
        count(counters.RECEIVER_CALLS, "shop", "failed")
        assert counters.read_counters() == {"receiver_calls shop failed": 3}
    assert counters.read_counters() == {"receiver_calls shop failed": 4}
    count(counters.RECEIVER_CALLS, "shop", "failed")
    assert counters.read_counters() == {"receiver_calls shop failed": 5}


# Python warns of threads, which other tests have left, such as those of the facts.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_inside_counts_for_itself() -> None:
    with gather_counts():
        count(counters.EVENTS_DUPLICATE)
        child = os.fork()
        if not child:
            try:
                count(counters.EVENTS_RETRIED)
                flush()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert counters.read_counters() == {"events_retried": 1}
    assert counters.read_counters() == {"events_duplicate": 1, "events_retried": 1}


def test_counts_of_a_task_that_fails_are_kept() -> None:
    def task() -> None:
        with gather_counts():
            count(counters.EVENTS_DUPLICATE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        task()
    assert counters.read_counters() == {"events_duplicate": 1}


def test_with_redis_away_a_count_is_lost_and_redis_paused(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with gather_counts():
        count(counters.EVENTS_DUPLICATE)
    assert redis.is_circuit_open()
    with pytest.raises(RedisError):
        counters.read_counters()


def test_each_stream_has_its_own_counters(anymail: Callable[..., None], stream: str) -> None:
    count(counters.EVENTS_DUPLICATE)
    anymail(EVENT_STREAM=f"{stream}-other")
    assert counters.read_counters() == {}


def test_fields_of_another_version_are_no_readings_and_no_fault() -> None:
    for field in ("gone", 'webhook_posts["tracking"]', 'receiver_seconds["1"]', "odd[", 'gone["a"]'):
        redis.for_workers().hset(redis.key(KEY), field, 1)
    assert counters.read_counters() == {"gone": 1, "gone a": 1, "odd[": 1, "webhook_posts tracking": 1}
    assert not counted("webhook_posts_total")
    assert not counted("receiver_seconds")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("events_duplicate", "many"),
        ("events_duplicate", "1.5"),
        (b"\xff", "1"),
        ("gone[1]", "1"),
        ("gone[[1]]", "1"),
        ("receiver_calls[[1], 2]", "1"),
        ("gone" + "[" * 100_000, "1"),
    ],
)
def test_a_field_of_another_program_hides_no_count(field: bytes | str, value: str) -> None:
    redis.for_workers().hset(redis.key(KEY), field, value)
    count(counters.EVENTS_RETRIED)
    assert counters.read_counters()["events_retried"] == 1
    assert counted("events_retried_total") == {(): 1}


def test_a_count_that_redis_refuses_costs_no_other_count_and_no_post() -> None:
    redis.for_workers().hset(redis.key(KEY), "events_duplicate", "many")
    with gather_counts():
        count(counters.EVENTS_DUPLICATE)
        count(counters.EVENTS_RETRIED)
    assert counters.read_counters() == {"events_retried": 1}
    redis.for_workers().set(redis.key(KEY), "of another program")
    count(counters.EVENTS_RETRIED)
    assert not redis.is_circuit_open()


def test_each_counter_has_a_meaning_of_its_own() -> None:
    meanings = [counter.meaning for counter in counting.counters.values()]
    assert len({*meanings}) == len(meanings)
    assert counters.meaning("events_retried") == "Events whose failed receivers were called again"
    assert counters.meaning("webhook_posts inbound 503 storage") == "Posts by webhook, answer and reason"
    assert counters.meaning("of another version") == ""
