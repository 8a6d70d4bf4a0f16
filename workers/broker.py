"""The broker's URL as Celery and kombu read it. The source of a claim is kombu's code."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from django.core.exceptions import ImproperlyConfigured
from kombu.transport import TRANSPORT_ALIASES
from kombu.utils.url import url_to_parts
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_app.shared.redis_url import RedisURL, is_redis, parse

#: Seconds for a connection, and for a read.
CONNECT_TIMEOUT, READ_TIMEOUT = 2, 5


def broker_settings(url: str) -> dict[str, Any]:
    """Celery's settings for a broker under this URL: `broker_url` and what belongs to it.

    A URL of Redis has the forms of `events_app.shared.redis_url`, and means the same as there. URLs of other
    brokers, and lists in kombu's form, stay as they are. Raises ImproperlyConfigured without a password.
    """
    try:
        if is_redis(url):
            return _for_redis(parse(url))
        return _for_others(url)
    except ValueError as fault:
        # The default comes from REDIS_URL.
        raise ImproperlyConfigured(f"CELERY_BROKER_URL (by default from REDIS_URL): {fault}") from None


def beside(url: str) -> str:
    """The URL of another database of the same Redis: 1, or 0 beside 1. A broken URL stays as it is."""
    try:
        database = int(parse(url).database != 1)
    except ValueError:
        return url
    location, _, query = url.partition("?")
    if url.lower().startswith("unix:"):
        options = [(name, value) for name, value in parse_qsl(query) if name != "db"]
        return f"{location}?{urlencode([*options, ('db', database)])}"
    location = "/".join(location.split("/")[:3])
    return f"{location}/{database}" + f"?{query}" * bool(query)


def _for_redis(url: RedisURL) -> dict[str, Any]:
    settings: dict[str, Any] = {"broker_transport_options": {}}
    if url.tls:
        # With this, and only with this, kombu verifies as redis-py does: `Connection._init_params` turns
        # verification off for a bare rediss://. Flower reads the options here too.
        settings["broker_use_ssl"] = url.tls
    if url.kind == "unix":
        settings["broker_url"] = (
            f"redis+socket://{_credentials(url)}{quote(url.path)}?virtual_host={url.database}"
        )
        return settings
    scheme = "sentinel" if url.kind == "sentinel" else "rediss" if url.tls else "redis"
    settings["broker_url"] = ";".join(
        f"{scheme}://{_credentials(url)}{f'[{host}]' if ':' in host else host}:{port}/{url.database}"
        for host, port in url.hosts
    )
    if url.kind == "sentinel":
        settings["broker_transport_options"] = {
            "master_name": url.master_name,
            # Without this kombu's own options have no user, password and TLS for the sentinels
            # (`SentinelChannel._sentinel_managed_pool`).
            "sentinel_kwargs": {
                "socket_timeout": READ_TIMEOUT,
                "socket_connect_timeout": CONNECT_TIMEOUT,
                # By default redis-py 8 tries a dead sentinel ten times, for four seconds and each connection
                # anew, before it asks the next one.
                "retry": Retry(NoBackoff(), 0),
                "username": url.sentinel_username or None,
                "password": url.sentinel_password or None,
                **({"ssl": True, **url.tls} if url.tls else {}),
            },
        }
    return settings


def _credentials(url: RedisURL) -> str:
    """User and password as they stand in a URL, with the `@`."""
    if not (url.username or url.password):
        return ""
    return f"{quote(url.username, safe='')}:{quote(url.password, safe='')}@"


def _for_others(urls: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"broker_url": urls, "broker_transport_options": {}}
    hosts = [_host_of(url) for url in urls.split(";")]
    if urls.startswith("amqps://") and len(hosts) == 1:
        # Without it py-amqp accepts a certificate for any name (amqp/transport.py, `_wrap_socket_sni`).
        settings["broker_use_ssl"] = {"server_hostname": hosts[0]}
    return settings


def _host_of(url: str) -> str:
    """The host. Raises ValueError where kombu would raise an error that quotes the URL."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.partition("+")[0] not in TRANSPORT_ALIASES:
        raise ValueError(
            "must begin with the name of a broker that Celery knows, such as redis:// or amqp://"
        )
    if scheme == "sentinel":
        raise ValueError("must name all sentinels in one URL: sentinel://a,b/1?master_name=NAME")
    try:
        return url_to_parts(url).hostname or "localhost"
    except ValueError:
        raise ValueError(
            "has no readable host and port. In a user or a password, percent-encode everything but "
            "letters and digits"
        ) from None
