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
_PAUSE = 0.5

#: Milliseconds a bell stays hung up. A bell that got lost keeps others from ringing only so long.
BELL_LIFE = 2000

_paused_until = 0.0


def door() -> Redis:
    """For web requests: gives up after a second, so that a post is answered within two."""
    return _client(REDIS_URL.get(), 1.0)


def worker() -> Redis:
    """For background work, which can wait a little longer."""
    return _client(REDIS_URL.get(), 5.0)


def hasty() -> Redis:
    """For what nobody is to wait for: whether a bell has been rung. Gives up after half a second."""
    return _client(REDIS_URL.get(), 0.5)


def key(name: str = "") -> str:
    """The stream's key, or that of something beside it."""
    # The braces put all of them into one slot of a Redis cluster: a script needs several.
    return f"{{{STREAM.get()}}}:{name}" if name else f"{{{STREAM.get()}}}"


def pause() -> None:
    """Redis failed a web request: spare the next ones the wait."""
    global _paused_until  # noqa: PLW0603 (one process, one Redis: the pause is the process's)
    _paused_until = time.monotonic() + _PAUSE


def is_paused() -> bool:
    """Whether Redis failed a web request of this process a moment ago."""
    return time.monotonic() < _paused_until


@cache
def _client(url: str, timeout: float) -> Redis:
    # No retries: redis-py's own wait for up to a minute, and they repeat an append whose answer
    # got lost. A door would rather say 503, and a worker's next bell comes anyway.
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def hold(name: str, milliseconds: int) -> bool:
    """Take the lock `name` for a while. False while another process has it."""
    return bool(worker().set(key(name), 1, nx=True, px=milliseconds))


def let_go(name: str) -> None:
    """Give the lock `name` back. After its time this may free the lock of another process."""
    worker().delete(key(name))
