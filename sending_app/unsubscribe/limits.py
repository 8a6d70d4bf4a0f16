"""Limits of requests, counted in Redis. While Redis is away, nothing is limited."""

from typing import cast

from redis import RedisError

from events_app.shared import redis


def is_exceeded(name: str, most: int, seconds: int) -> bool:
    """Count a request under `name`, and return whether that makes more than `most` in `seconds`."""
    if redis.is_circuit_open():
        return False
    key = redis.key(f"unsubscribe:{name}")
    try:
        pipe = redis.for_webhooks().pipeline()
        pipe.set(key, 0, ex=seconds, nx=True)
        pipe.incr(key)
        _, count = cast("tuple[object, int]", tuple(pipe.execute()))
    except RedisError:
        redis.open_circuit()
        return False
    return count > most
