"""The connection to Redis: patience, and names."""

from collections.abc import Callable

import pytest

from events_app.shared import redis


def test_all_keys_share_one_cluster_slot(stream: str) -> None:
    assert redis.key() == f"{{{stream}}}"
    assert redis.key("bell") == f"{{{stream}}}:bell"


def test_the_webhook_view_client_has_a_timeout_of_one_second_and_no_retry() -> None:
    options = redis.door().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)
    assert options["retry"].get_retries() == 0


def test_the_wake_up_client_has_a_timeout_of_half_a_second_and_no_retry() -> None:
    options = redis.hasty().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert options["retry"].get_retries() == 0


def test_a_client_is_made_once(anymail: Callable[..., None]) -> None:
    first = redis.door()
    assert first is redis.door()
    assert first is not redis.worker()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert first is not redis.door()


def test_redis_is_paused_for_a_limited_time_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not redis.is_paused()
    redis.pause()
    assert redis.is_paused()
    monkeypatch.setattr(redis, "_PAUSE", 0)
    redis.pause()
    assert not redis.is_paused()
