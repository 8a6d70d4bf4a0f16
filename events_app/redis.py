"""The connection to Redis: where it is, how long we wait for it, what our keys are called."""

from functools import cache
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_app.conf import REDIS_URL, STREAM


def door() -> "Redis[Any]":
    """For web requests: gives up after a second, so that a post is answered within two."""
    return _client(REDIS_URL.get(), 1.0)


def worker() -> "Redis[Any]":
    """For background work, which can wait a little longer."""
    return _client(REDIS_URL.get(), 5.0)


def key(name: str = "") -> str:
    """The stream's key, or that of something beside it."""
    # The braces put all of them into one slot of a Redis cluster: the append script needs two.
    return f"{{{STREAM.get()}}}:{name}" if name else f"{{{STREAM.get()}}}"


@cache
def _client(url: str, timeout: float) -> "Redis[Any]":
    # No retries: redis-py's own wait for up to a minute, and they repeat an append whose answer
    # got lost. A door would rather say 503, and a worker's next bell comes anyway.
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
