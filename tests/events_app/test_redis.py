"""The connection to Redis: patience, and names."""

from collections.abc import Callable

import pytest

from events_app import redis


def test_all_keys_lie_in_one_slot_of_a_cluster(stream: str) -> None:
    assert redis.key() == f"{{{stream}}}"
    assert redis.key("bell") == f"{{{stream}}}:bell"


def test_a_door_waits_a_second_and_never_tries_again() -> None:
    options = redis.door().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)
    assert options["retry"].get_retries() == 0


def test_for_a_bell_nobody_waits_longer_than_half_a_second() -> None:
    options = redis.hasty().connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert options["retry"].get_retries() == 0


def test_a_client_is_made_once(anymail: Callable[..., None]) -> None:
    first = redis.door()
    assert first is redis.door()
    assert first is not redis.worker()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert first is not redis.door()


def test_a_pause_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not redis.is_paused()
    redis.pause()
    assert redis.is_paused()
    monkeypatch.setattr(redis, "_PAUSE", 0)
    redis.pause()
    assert not redis.is_paused()
