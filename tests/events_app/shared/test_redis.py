"""The connection to Redis: patience, and names."""

from collections.abc import Callable

import pytest

from events_app.shared import redis


def test_all_keys_share_one_cluster_slot(stream: str) -> None:
    assert redis.key() == f"{{{stream}}}"
    assert redis.key("wakeup") == f"{{{stream}}}:wakeup"


def test_the_webhook_view_client_has_a_timeout_of_one_second_and_no_retry() -> None:
    options = redis.for_webhooks().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)
    assert options["retry"].get_retries() == 0


def test_the_wake_up_client_has_a_timeout_of_half_a_second_and_no_retry() -> None:
    options = redis.for_wake_ups().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert options["retry"].get_retries() == 0


def test_a_client_is_made_once(anymail: Callable[..., None]) -> None:
    first = redis.for_webhooks()
    assert first is redis.for_webhooks()
    assert first is not redis.for_workers()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert first is not redis.for_webhooks()


def test_redis_is_paused_for_a_limited_time_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not redis.is_circuit_open()
    redis.open_circuit()
    assert redis.is_circuit_open()
    monkeypatch.setattr(redis, "_OPEN_SECONDS", 0)
    redis.open_circuit()
    assert not redis.is_circuit_open()
