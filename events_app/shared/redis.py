"""The connection to Redis: where it is, how long we wait for it, our keys and our locks."""

import time
from functools import cache, lru_cache

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from events_app.shared.setting import Setting, text

# Each post asks for it.
_parse_url = lru_cache(maxsize=4)(parse_url)


def _redis_url(value: object) -> str:
    url = text(value)
    _parse_url(url)
    return url


#: The Redis (or Valkey) that keeps raw events until they are stored.
REDIS_URL = Setting("EVENT_REDIS_URL", "redis://127.0.0.1:6379/0", _redis_url)
#: The stream's key. Give each deployment that shares a Redis database its own.
STREAM = Setting("EVENT_STREAM", "sendgrid:events", text)

# Seconds a process answers its web requests without asking Redis, after Redis failed one of them.
_OPEN_SECONDS = 0.5

#: Milliseconds for which a wake-up suppresses others; after that a lost one is made good by the next.
WAKE_UP_LIFETIME = 2000

_open_until = 0.0


def for_webhooks() -> Redis:
    """For web requests: gives up after a second, so that a post is answered within two."""
    return _client(REDIS_URL.get(), 1.0)


def for_workers() -> Redis:
    """For background work, which can wait a little longer."""
    return _client(REDIS_URL.get(), 5.0)


def for_wake_ups() -> Redis:
    """For asking whether a wake-up is already on its way. Gives up after half a second."""
    return _client(REDIS_URL.get(), 0.5)


def key(name: str = "") -> str:
    """The stream's key, or that of something beside it."""
    # The braces put all of them into one slot of a Redis cluster: a script needs several.
    return f"{{{STREAM.get()}}}:{name}" if name else f"{{{STREAM.get()}}}"


def open_circuit() -> None:
    """Redis failed a web request: open the circuit breaker, so that the next ones do not wait."""
    global _open_until  # noqa: PLW0603 (one process, one Redis: the pause is the process's)
    _open_until = time.monotonic() + _OPEN_SECONDS


def is_circuit_open() -> bool:
    """Whether the circuit breaker of Redis is open: it failed a web request of this process a moment ago."""
    return time.monotonic() < _open_until


@cache
def _client(url: str, timeout: float) -> Redis:
    # No retries: redis-py's own wait for up to a minute, and they repeat an append whose answer
    # got lost. A webhook would rather say 503, and a worker's next wake-up comes anyway.
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def take_lock(name: str, milliseconds: int) -> bool:
    """Take the lock `name` for a while. False while another process has it."""
    return bool(for_workers().set(key(name), 1, nx=True, px=milliseconds))


def release_lock(name: str) -> None:
    """Give the lock `name` back. After its time this may free the lock of another process."""
    for_workers().delete(key(name))
