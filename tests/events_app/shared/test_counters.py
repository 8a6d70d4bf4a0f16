"""What did not go the plain way is counted, and counting never stands in the way."""

from collections.abc import Callable

import pytest
from redis import RedisError

from events_app.shared import counters, redis


def test_counts_add_up_and_are_read_by_name() -> None:
    counters.count(counters.DUPLICATE, 3)
    counters.count(counters.WAKE_UP_FAILED)
    counters.count(counters.DUPLICATE)
    counters.count(counters.REFUSED.format(status=403))
    assert counters.read_counters() == {"wake_up_failed": 1, "duplicate": 4, "refused_403": 1}


def test_a_count_of_zero_is_not_stored() -> None:
    counters.count(counters.DUPLICATE, 0)
    assert counters.read_counters() == {}


def test_with_redis_away_a_count_is_lost_and_redis_paused(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    counters.count(counters.DUPLICATE)
    assert redis.is_circuit_open()
    with pytest.raises(RedisError):
        counters.read_counters()


def test_each_stream_has_its_own_counters(anymail: Callable[..., None], stream: str) -> None:
    counters.count(counters.DUPLICATE)
    anymail(EVENT_STREAM=f"{stream}-other")
    assert counters.read_counters() == {}


def test_each_counter_has_a_meaning() -> None:
    plain = [value for name, value in vars(counters).items() if name.isupper() and isinstance(value, str)]
    assert sorted(plain) == sorted(counters.MEANINGS)
    assert len({*counters.MEANINGS.values()}) == len(counters.MEANINGS)
    assert counters.meaning(counters.RETRIED) == "events whose failed receivers were called again"
    assert counters.meaning("refused_503") == "posts answered with 503"
    assert counters.meaning("of another version") == ""
