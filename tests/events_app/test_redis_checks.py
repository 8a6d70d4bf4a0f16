"""A Redis that is not fit is named before the first post comes: of the stream, and of the Celery app."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage

from devstack.process import free_port
from devstack.valkey import Valkey
from events_app.redis_checks import check_broker_url, check_certificates, check_redis_servers
from events_app.shared import redis
from tests.support.brokers import UNREACHABLE, silent_broker
from tests.support.resp_server import bulk, resp_server
from workers.app import app

SECRET = "f6c0b58d"

Broker = Callable[..., None]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Changes the settings of the Celery app."""

    def change(url: str, **changed: object) -> None:
        for name, value in {"broker_read_url": url, "broker_write_url": url, **changed}.items():
            monkeypatch.setitem(app.conf, name, value)

    return change


def texts(messages: list[CheckMessage]) -> dict[str, str]:
    """The message by the id; both of the same id in one."""
    found: dict[str, str] = {}
    for message in messages:
        found[str(message.id)] = f"{found.get(str(message.id), '')} {message.msg}"
    return found


def ask_servers() -> list[CheckMessage]:
    return check_redis_servers(databases=["default"])


def test_the_servers_of_a_deployment_pass_the_checks() -> None:
    assert check_broker_url() == check_certificates() == ask_servers() == []


@pytest.mark.django_db
def test_no_server_is_asked_without_the_database_option(anymail: Callable[..., None]) -> None:
    """As Django has it: such checks run with `check --database` and in `migrate`."""
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    shown = {message.id for message in checks.run_checks(include_deployment_checks=True)}
    assert "events_app.W022" not in shown
    shown = {message.id for message in checks.run_checks(databases=["default"])}
    assert "events_app.W022" in shown


def test_a_test_run_asks_no_server(anymail: Callable[..., None]) -> None:
    anymail(EAGER_IN_TESTS=True, EVENT_REDIS_URL=UNREACHABLE)
    assert ask_servers() == []


# --- The broker's URL ---


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@redis.example.com/0",
        f"redis://:x[{SECRET}@redis.example.com/0",
        f"valkey://:{SECRET}@redis.example.com/0",
        f"redis://:{SECRET}@redis.example.com/0?socket_timeout=3",
    ],
)
def test_a_url_that_celery_cannot_read_is_an_error(broker: Broker, url: str) -> None:
    broker(url)
    (error,) = check_broker_url()
    assert error.id == "events_app.E011"
    assert SECRET not in str(error)
    assert check_certificates() == []
    assert ask_servers() == []


def test_a_broker_whose_package_is_missing_is_an_error(broker: Broker) -> None:
    broker("zookeeper://zookeeper.example.com/")  # its transport needs kazoo
    (error,) = check_broker_url()
    assert (error.id, "ImportError" in error.msg) == ("events_app.E011", True)
    assert check_certificates() == []
    assert ask_servers() == []


# --- Certificates ---

UNVERIFIED = (
    "The broker of the Celery app is reached by TLS without verification: anyone on the way can pose as it."
)
OTHER_NAME = "The broker of the Celery app is reached by TLS that accepts a certificate for any name"
SENTINELS = {"master_name": "m", "sentinel_kwargs": {"ssl": True, "ssl_cert_reqs": "none"}}


@pytest.mark.parametrize(
    ("url", "changed", "fault"),
    [
        ("rediss://redis.example.com/0", {}, UNVERIFIED),
        ("rediss://redis.example.com/0?ssl_cert_reqs=none", {}, UNVERIFIED),
        ("redis://redis.example.com/0", {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}}, UNVERIFIED),
        ("rediss://redis.example.com/0", {"broker_use_ssl": True}, "is reached without TLS"),
        ("sentinel://a.example.com/0", {"broker_transport_options": SENTINELS}, "A sentinel of"),
        ("redis://redis.example.com/0", {}, None),
        ("rediss://redis.example.com/0?ssl_cert_reqs=required", {}, None),
        ("redis://redis.example.com/0", {"broker_use_ssl": {"ssl_ca_certs": "/ca.pem"}}, None),
        ("amqp://rabbit.example.com//", {}, None),
        ("amqp://rabbit.example.com//", {"broker_use_ssl": True}, OTHER_NAME),
        ("amqps://rabbit.example.com//", {}, OTHER_NAME),
        ("amqps://a.example.com", {"broker_use_ssl": {"server_hostname": None}}, None),
        (
            "amqps://a.example.com",
            {"broker_use_ssl": {"server_hostname": None, "cert_reqs": ssl.CERT_NONE}},
            UNVERIFIED,
        ),
    ],
)
def test_a_broker_without_verification_is_a_warning(
    broker: Broker, url: str, changed: dict[str, object], fault: str | None
) -> None:
    broker(url, **changed)
    found = check_certificates()
    assert [message.id for message in found] == ["events_app.W021"] * bool(fault)
    assert (fault or "") in str(found)


def test_a_stream_without_verification_is_a_warning(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="rediss://redis.example.com/0?ssl_cert_reqs=none")
    assert texts(check_certificates())["events_app.W021"].startswith(
        " The Redis of EVENT_REDIS_URL is reached"
    )


# --- The servers ---


def test_a_node_of_a_cluster_is_an_error(
    anymail: Callable[..., None], broker: Broker, tmp_path: Path
) -> None:
    # By default the port of the bus is the server's plus 10,000, where another program may listen.
    options = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with Valkey(tmp_path / "valkey", options=options) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        broker(valkey.url(0))
        found = ask_servers()
    assert [message.id for message in found] == ["events_app.E012"] * 2
    assert {message.msg.partition(" is a node of a cluster")[0] for message in found} == {
        "The Redis of EVENT_REDIS_URL",
        "The broker of the Celery app",
    }


def test_a_replica_is_an_error(anymail: Callable[..., None], tmp_path: Path) -> None:
    """Such as the address for readers of a hosted server: every post would get 503."""
    with Valkey(tmp_path / "valkey", options={"replicaof": "127.0.0.1 1"}) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        found = texts(ask_servers())
    assert found["events_app.E012"] == " The Redis of EVENT_REDIS_URL is a replica, which takes no writes."


def test_a_server_that_evicts_and_forgets_is_a_warning(anymail: Callable[..., None], tmp_path: Path) -> None:
    options = {"maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    with Valkey(tmp_path / "valkey", options=options) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        assert texts(ask_servers()).keys() == {"events_app.W023", "events_app.W024"}


def test_a_server_that_is_too_old_is_an_error(anymail: Callable[..., None]) -> None:
    info = bulk("redis_version:6.0.16\r\naof_enabled:1\r\n")
    with resp_server({b"INFO": lambda: info}, redis.REDIS_URL.get()) as url:
        anymail(EVENT_REDIS_URL=url)
        found = texts(ask_servers())
        redis.for_workers().close()  # the server waits for the end of its connections
    assert found == {
        "events_app.E012": " The Redis of EVENT_REDIS_URL has version 6.0.16, which lacks commands."
    }


def test_a_server_that_does_not_answer_is_a_warning_with_the_reason(
    anymail: Callable[..., None], broker: Broker
) -> None:
    anymail(EVENT_REDIS_URL=f"redis://:{SECRET}@127.0.0.1:1/0")
    broker(f"redis://:{SECRET}@127.0.0.1:1/0")
    found = texts(ask_servers())
    assert found.keys() == {"events_app.W022"}
    assert found["events_app.W022"].count("Error 111 connecting to 127.0.0.1:1. Connection refused") == 2
    assert SECRET not in found["events_app.W022"]
    assert ".." not in found["events_app.W022"]


def test_a_wrong_password_is_named_as_such(anymail: Callable[..., None], tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0).replace("//", f"//nobody:{SECRET}@"))
        found = texts(ask_servers())
    assert re.search("Redis refuses the user or the password of the URL", found["events_app.W022"])
    assert SECRET not in str(found)


def test_brokers_that_are_no_redis_are_not_asked(broker: Broker) -> None:
    with silent_broker() as silent:
        broker(silent.url)
        assert ask_servers() == []
        assert not silent.connections


def test_a_broken_url_of_the_stream_is_left_to_the_check_of_settings(anymail: Callable[..., Any]) -> None:
    anymail(EVENT_REDIS_URL="redis://:12/34@redis.example.com/0")
    assert ask_servers() == check_certificates() == []
