"""The connection to Redis: address, timeouts, circuit breaker, keys and locks."""

import time
from functools import cache, lru_cache
from typing import Any

from redis import ConnectionError as RedisConnectionError
from redis import ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from events_app.shared.eager import is_eager
from events_app.shared.redis_url import RedisURL, parse
from events_app.shared.setting import Setting, kind, non_empty_text

# Cached, because every post reads the URL.
_parse = lru_cache(maxsize=4)(parse)


@kind("text")
def _redis_url(value: object) -> str:
    url = non_empty_text(value)
    _parse(url)
    return url


REDIS_URL = Setting(
    "EVENT_REDIS_URL",
    "redis://127.0.0.1:6379/0",
    _redis_url,
    meaning="The Redis or Valkey for events that wait, locks, counters and wake-up flags. [Its "
    "forms](redis.md#the-url). Mail is also sent while it is down.",
)
STREAM = Setting(
    "EVENT_STREAM",
    "sendgrid:events",
    non_empty_text,
    meaning="The key of the stream in Redis. Projects that share a Redis database need different keys.",
)

# Seconds that the circuit breaker stays open. In this time web requests of the process do not try Redis.
_OPEN_SECONDS = 0.5

#: Milliseconds for which a wake-up suppresses further wake-ups. Then the next wake-up replaces a lost one.
WAKE_UP_LIFETIME = 2000

_open_until = 0.0


def for_webhooks() -> Redis:
    """A client for web requests, with a timeout of a second: the view must answer a post within two."""
    return _connect(1.0)


def for_workers() -> Redis:
    """A client for workers, with a longer timeout."""
    return _connect(5.0)


def for_wake_ups() -> Redis:
    """A client for suppressing wake-ups, with a timeout of half a second."""
    return _connect(0.5)


def _connect(timeout: float) -> Redis:
    # The settings of a test run often name the Redis of the developer's own server and worker.
    if is_eager():
        raise RedisConnectionError(
            "A test run uses no Redis. To test with servers, set ANYMAIL['EAGER_IN_TESTS'] = False."
        )
    return _client(REDIS_URL.get(), timeout)


def key(name: str = "") -> str:
    """The stream's key, or the key `name` beside the stream."""
    # The braces put all keys into a single slot of a Redis cluster: a script uses several keys.
    return f"{{{STREAM.get()}}}:{name}" if name else f"{{{STREAM.get()}}}"


def open_circuit() -> None:
    """Open the circuit breaker after Redis failed a web request, so that the next requests do not wait."""
    global _open_until  # noqa: PLW0603 (one process, one Redis)
    _open_until = time.monotonic() + _OPEN_SECONDS


def is_circuit_open() -> bool:
    """Whether Redis failed a web request of this process a moment ago."""
    return time.monotonic() < _open_until


@cache
def _client(url: str, timeout: float) -> Redis:
    return connect(_parse(url), timeout)


def connect(url: RedisURL, timeout: float) -> Redis:
    """A client that waits up to `timeout` seconds for the connection, and as long for each answer."""
    # No retries: redis-py's retries wait for up to a minute, and repeat an append after a lost reply. A
    # webhook answers 503 instead, and a worker gets another wake-up.
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2, **url.tls}
    login = {"username": url.username or None, "password": url.password or None}
    server = {**options, **login, "db": url.database}
    match url.kind:
        case "sentinel":
            return _connect_by_sentinels(url, options, server, timeout)
        case "unix":
            place: dict[str, Any] = {"path": url.path, "connection_class": UnixDomainSocketConnection}
            timeouts: dict[str, Any] = {"socket_timeout": timeout}
        case _:
            ((host, port),) = url.hosts
            place = {"host": host, "port": port} | ({"connection_class": SSLConnection} if url.tls else {})
            timeouts = _timeouts(timeout)
    return Redis.from_pool(ConnectionPool(**server, **place, **timeouts))


def _connect_by_sentinels(
    url: RedisURL, options: dict[str, Any], server: dict[str, Any], timeout: float
) -> Redis:
    """A client that asks the sentinels for the master before each new connection."""
    tls = {"ssl": bool(url.tls)}
    login = {"username": url.sentinel_username or None, "password": url.sentinel_password or None}
    # The sentinels are asked one after the other. Even with three silent ones the answer comes within twice
    # the timeout: 3 * 0.2 for them, and 2 * 0.7 for the server.
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        url.hosts, sentinel_kwargs={**options, **login, **tls, **_timeouts(0.2 * timeout)}
    )
    client: Redis = sentinel.master_for(url.master_name, Redis, **server, **tls, **_timeouts(0.7 * timeout))
    return client


def _timeouts(seconds: float) -> dict[str, Any]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}


@cache
def script(text: str) -> Any:
    """The Lua script with this text. Each call must name a client."""
    return for_workers().register_script(text)


def take_lock(name: str, milliseconds: int) -> bool:
    """Take the lock `name` for `milliseconds`. False if another process has the lock."""
    return bool(for_workers().set(key(name), 1, nx=True, px=milliseconds))


def release_lock(name: str) -> None:
    """Release the lock `name`. After the lock's time, the call may release another process's lock."""
    for_workers().delete(key(name))
