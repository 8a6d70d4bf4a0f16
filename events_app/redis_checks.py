"""System checks of the connections to Redis, and of the broker where it is a Redis or has TLS."""

import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from celery import current_app
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

from events_app.monitoring import redis_server
from events_app.monitoring.configuration import ALSO_FACTS
from events_app.shared import redis, wakeup
from events_app.shared.eager import is_eager
from events_app.shared.facts import Level, Reading
from events_app.shared.redis_faults import describe
from events_app.shared.redis_url import parse

_ANYONE = "is reached by TLS without verification: anyone on the way can pose as it."

_STREAM, _BROKER = redis_server.NAMES[redis_server.STREAM], redis_server.NAMES[redis_server.BROKER]

#: The ids of the facts that are checked too, where they are worse than advice.
_IDS = {
    redis_server.VERSION: "events_app.E012",
    redis_server.ROLE: "events_app.E012",
    redis_server.EVICTION: "events_app.W023",
    redis_server.DURABILITY: "events_app.W024",
}


@register()
def check_broker_url(**_: Any) -> list[CheckMessage]:
    """Check that Celery can read the broker's URL."""
    try:
        _broker_connections()
    except Exception as error:  # noqa: BLE001 (the errors of urllib, kombu and of each transport)
        return [
            Error(
                # Without the error's text, which may have the password.
                f"The URL of the broker of the Celery app cannot be read ({type(error).__name__}).",
                hint="In a user or a password, percent-encode everything but letters and digits. kombu "
                "does not know valkey://: write redis://. After an ImportError, install what the broker "
                "needs, such as celery[sqs].",
                id="events_app.E011",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_certificates(**_: Any) -> list[CheckMessage]:
    """Check that connections with TLS verify the server."""
    try:
        connections = _broker_connections()
        stream = parse(redis.REDIS_URL.get())
    except Exception:  # noqa: BLE001 (other checks report them)
        return []
    faults = dict.fromkeys(_fault_of_broker(connections))
    if stream.tls and _unverified(stream.tls):
        faults[f"{_STREAM} {_ANYONE}"] = None
    return [
        checks.Warning(
            fault,
            hint="Verify the certificate: docs/redis.md has the settings, also those of Celery; "
            "docs/brokers.md has those of RabbitMQ.",
            id="events_app.W021",
        )
        for fault in faults
    ]


@register(Tags.database, ALSO_FACTS)
def check_redis_servers(*, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Ask the servers of the stream and of the broker whether they are fit."""
    # Django 5.2 calls this also without `--database`, and without databases. A test run has no servers.
    if not databases or is_eager():
        return []
    return [*_check_stream(), *_check_broker()]


def _broker_connections() -> list[Connection]:
    """Celery's connections. They connect at their first use."""
    connections = [current_app.connection_for_write(), current_app.connection_for_read()]
    for connection in connections:
        connection.transport  # noqa: B018 (fails without the transport's package; that of amqps:// sets `ssl`)
    return connections


def _fault_of_broker(connections: Iterable[Connection]) -> Iterator[str]:
    for connection in connections:
        driver = connection.transport.driver_type
        if driver == "amqp" and connection.ssl:
            yield from _fault_of_rabbitmq(connection.ssl)
        if driver != "redis":
            continue
        sentinels = (connection.transport_options or {}).get("sentinel_kwargs") or {}
        for who, options in (
            (_BROKER, connection.ssl),
            ("A sentinel of the Celery app's broker", sentinels if sentinels.get("ssl") else False),
        ):
            if isinstance(options, Mapping) and _unverified(options):
                yield f"{who} {_ANYONE}"
            elif options and not isinstance(options, Mapping):
                # kombu/transport/redis.py, `Channel._connparams`, takes nothing but a dict.
                yield f"{who} is reached without TLS: broker_use_ssl must be a dict."


def _fault_of_rabbitmq(options: Any) -> Iterator[str]:
    named = options if isinstance(options, Mapping) else {}
    if named.get("cert_reqs") == ssl.CERT_NONE:
        yield f"{_BROKER} {_ANYONE}"
    # amqp/transport.py, `_wrap_socket_sni`. None is the host of the URL (kombu/transport/pyamqp.py).
    elif "server_hostname" not in named:
        yield (
            f"{_BROKER} is reached by TLS that accepts a certificate for any name: broker_use_ssl lacks "
            "server_hostname."
        )


def _unverified(options: Mapping[str, Any]) -> bool:
    """Whether redis-py verifies no certificate with these options."""
    return options.get("ssl_cert_reqs", "required") in (None, "none", ssl.CERT_NONE)


def _check_stream() -> Iterator[CheckMessage]:
    try:
        info = redis.for_workers().info()
    except ImproperlyConfigured:
        return  # another check reports it
    except Exception as error:  # noqa: BLE001 (a check never ends in a traceback)
        yield _unavailable(_STREAM, error)
        return
    yield from _messages(redis_server.read_info(redis_server.STREAM, info))
    yield from _messages(redis_server.read_stream_info(info, redis_server.read_fsync(info)))


def _check_broker() -> Iterator[CheckMessage]:
    try:
        connection = wakeup.connect(current_app)
        if connection.transport.driver_type != "redis":
            return
    except Exception:  # noqa: BLE001 (another check reports it)
        return
    try:
        channel: Any = connection.default_channel
        info = channel.client.info()
    except Exception as error:  # noqa: BLE001 (a check never ends in a traceback)
        yield _unavailable(_BROKER, error)
        return
    finally:
        connection.collect(socket_timeout=1)
    yield from _messages(redis_server.read_info(redis_server.BROKER, info))


def _unavailable(name: str, error: Exception) -> CheckMessage:
    return checks.Warning(
        f"{name} cannot be asked: {describe(error).rstrip('.')}.",
        hint="Whether it is fit is not checked.",
        id="events_app.W022",
    )


def _messages(readings: Iterable[Reading]) -> Iterator[CheckMessage]:
    for reading in readings:
        if reading.fact in _IDS and reading.level >= Level.WARNING:
            kind = Error if reading.level == Level.ERROR else checks.Warning
            yield kind(reading.text, hint=reading.advice, id=_IDS[reading.fact])
