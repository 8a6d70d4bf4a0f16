"""The broker's URL, read by kombu itself: the stream's client and the broker's verify TLS alike."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection
from redis import ConnectionError as RedisConnectionError

from devstack.process import Process, free_port, wait_for
from devstack.valkey import Valkey
from events_app.shared.redis import connect
from events_app.shared.redis_faults import describe
from events_app.shared.redis_url import parse
from tests.support.certificates import Authority
from tests.support.tls_proxy import tls_proxy
from workers.broker import beside, broker_settings

SECRET = "f6c0b58d"


class Proxies(NamedTuple):
    """The ports of servers with TLS, and the files for their clients."""

    ports: dict[str, int]
    files: dict[str, Path]

    def url(self, scheme: str, server: str, query: str) -> str:
        return f"{scheme}://127.0.0.1:{self.ports[server]}/0?{query.format(**self.files)}".rstrip("?")


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder / "authority"), Authority(folder / "other")
    client = authority.issue("client")
    port = urlsplit(settings.ANYMAIL["EVENT_REDIS_URL"]).port
    assert port
    server, misnamed = authority.issue("127.0.0.1"), authority.issue("redis.example.com")
    files = {
        "authority": authority.certificate,
        "other": other.certificate,
        "certificate": client.certificate,
        "key": client.key,
    }
    with ExitStack() as stack:
        ports = {
            "right": stack.enter_context(tls_proxy(port, server)),
            "misnamed": stack.enter_context(tls_proxy(port, misnamed)),
            "strict": stack.enter_context(tls_proxy(port, server, clients_of=authority.certificate)),
        }
        yield Proxies(ports, files)


def ping_stream(url: str) -> object:
    client = connect(parse(url), 5)
    try:
        return client.ping()
    finally:
        client.close()


def broker_connection(url: str, **options: Any) -> Connection:
    """The connection that Celery makes of the settings (celery/app/base.py, `Celery._connection`)."""
    made = broker_settings(url)
    return Connection(
        made["broker_url"],
        ssl=made.get("broker_use_ssl", False),
        transport_options={**made["broker_transport_options"], **options},
        connect_timeout=5,
    )


def connect_to_broker(url: str) -> None:
    with broker_connection(url, read_timeout=5) as connection:
        connection.connect()


def ping_broker(url: str) -> object:
    connection = broker_connection(url, max_retries=0, socket_timeout=5, retry_on_timeout=False)
    try:
        channel: Any = connection.default_channel
        return channel.client.ping()
    finally:
        connection.collect()


both = pytest.mark.parametrize("ping", [ping_stream, ping_broker])
Ping = Callable[[str], object]


@both
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
@pytest.mark.parametrize(
    ("server", "query"),
    [
        ("right", "ssl_ca_certs={authority}"),
        ("right", "ssl_cert_reqs=none"),
        ("misnamed", "ssl_ca_certs={authority}&ssl_check_hostname=false"),
        ("strict", "ssl_ca_certs={authority}&ssl_certfile={certificate}&ssl_keyfile={key}"),
    ],
)
def test_a_server_is_accepted(proxies: Proxies, ping: Ping, scheme: str, server: str, query: str) -> None:
    assert ping(proxies.url(scheme, server, query))


@both
@pytest.mark.parametrize(
    ("server", "query", "reason"),
    [
        ("right", "", "the certificate of Redis is not trusted"),
        ("right", "ssl_ca_certs={other}", "the certificate of Redis is not trusted"),
        ("right", "ssl_check_hostname=false", "the certificate of Redis is not trusted"),
        ("misnamed", "ssl_ca_certs={authority}", "the certificate of Redis is for another name"),
        ("right", "ssl_ca_certs=/nowhere.pem", "a file that the URL names cannot be used"),
        ("right", "ssl_ca_certs={key}", "a file that the URL names cannot be used"),
        ("strict", "ssl_ca_certs={authority}", ""),  # the server hangs up
    ],
)
def test_a_server_is_refused(proxies: Proxies, ping: Ping, server: str, query: str, reason: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 (redis-py's and kombu's have no common base)
        ping(proxies.url("rediss", server, query))
    assert describe(raised.value).startswith(reason)


@pytest.fixture
def sentinels_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a sentinel and its master, both with TLS and a password."""
    program = shutil.which("redis-server")
    probe = program and subprocess.run(
        [program, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    if not program or not probe or "No tls-cert-file configured" not in probe.stdout:
        pytest.skip("this machine has no redis-server with TLS: the bundled Valkey has none")
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    ports = {"master": free_port(), "sentinel": free_port()}
    monitor = f"sentinel monitor events 127.0.0.1 {ports['master']} 1\nsentinel auth-pass events of-server\n"
    lines = {"master": "requirepass of-server", "sentinel": f"{monitor}requirepass of-sentinel"}
    with ExitStack() as stack:
        for name, port in ports.items():
            (tmp_path / f"{name}.conf").write_text(
                f"port 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
                f"tls-ca-cert-file {authority.certificate}\ntls-auth-clients no\ntls-replication yes\n"
                f"{lines[name]}\n"
            )
            words: list[str | Path] = [program, tmp_path / f"{name}.conf"]
            words += ["--sentinel"] * (name == "sentinel")
            stack.enter_context(Process(words, log=tmp_path / f"{name}.log", cwd=tmp_path))
        yield (
            f"sentinels://:of-server@127.0.0.1:{ports['sentinel']}/1?master_name=events"
            f"&sentinel_password=of-sentinel&ssl_ca_certs={authority.certificate}"
        )


def test_sentinels_and_servers_with_tls(sentinels_url: str) -> None:
    def answers() -> bool:
        with suppress(RedisConnectionError):
            return bool(ping_stream(sentinels_url))
        return False

    wait_for(answers, seconds=60, what="the sentinel")
    assert ping_broker(sentinels_url)
    for ping in (ping_stream, ping_broker):
        for wrong in (
            sentinels_url.partition("&ssl_ca_certs")[0],
            sentinels_url.replace("of-sentinel", "x"),
            sentinels_url.replace("=events", "=other"),
        ):
            with pytest.raises(Exception) as raised:  # noqa: PT011 (as above)
                ping(wrong)
            assert describe(raised.value).startswith("no sentinel can be asked, or none knows")


@both
def test_a_socket_with_a_password(tmp_path: Path, ping: Ping) -> None:
    socket = tmp_path / "v%.sock"
    with Valkey(tmp_path / "valkey", options={"unixsocket": str(socket)}) as valkey:
        server = connect(parse(valkey.url(0)), 5)
        server.config_set("requirepass", "p@ss/")
        url = f"unix://:p%40ss%2F@{str(socket).replace('%', '%25')}?db=3"
        assert ping(url)
        with pytest.raises(Exception, match="invalid username-password"):
            ping(url.replace("p%40ss", "wrong"))
        server.close()


def test_a_list_of_sentinels_has_no_master() -> None:
    """kombu would fail at each connection: nothing else in a deployment names the master."""
    with pytest.raises(ImproperlyConfigured, match="one URL: sentinel://a,b"):
        broker_settings(f"sentinel://:{SECRET}@a;sentinel://b")


def test_a_semicolon_in_a_password_makes_no_list() -> None:
    for separator in ("a;b", "a%3Bb"):
        assert broker_settings(f"redis://:{separator}@redis.example.com/1")["broker_url"] == (
            "redis://:a%3Bb@redis.example.com:6379/1"
        )


@pytest.mark.parametrize(("server", "is_accepted"), [("right", True), ("misnamed", False)])
def test_rabbitmq_with_tls_is_verified_by_its_name_too(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch, server: str, is_accepted: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(proxies.files["authority"]))
    with pytest.raises(Exception) as raised:  # noqa: PT011 (behind the proxies is no RabbitMQ)
        connect_to_broker(f"amqps://127.0.0.1:{proxies.ports[server]}//")
    assert isinstance(raised.value, ssl.SSLCertVerificationError) is not is_accepted


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:p%40ss@rabbit.example.com//",
        "amqps://a.example.com;amqps://b.example.com",
        *("memory://", "sqla+sqlite:///b"),
    ],
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert broker_settings(url) == {"broker_url": url, "broker_transport_options": {}}


def test_each_sentinel_has_the_password_and_the_database() -> None:
    """kombu goes on to the next URL, and takes everything from there."""
    made = broker_settings("sentinel://app:p%40ss@a.example.com,[::1]:26380/1?master_name=events")
    assert made["broker_url"] == (
        "sentinel://app:p%40ss@a.example.com:26379/1;sentinel://app:p%40ss@[::1]:26380/1"
    )
    assert made["broker_transport_options"]["master_name"] == "events"
    assert "broker_use_ssl" not in made


def test_sentinels_with_tls_verify_both_connections() -> None:
    made = broker_settings(
        "sentinels://a.example.com/1?master_name=events&sentinel_password=p&ssl_ca_certs=/ca.pem"
    )
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"}
    assert made["broker_use_ssl"] == verified
    of_sentinels = made["broker_transport_options"]["sentinel_kwargs"]
    assert of_sentinels.items() >= {"ssl": True, "password": "p", **verified}.items()


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@redis.example.com/0",
        f"amqp://user:{SECRET}/x@rabbit.example.com//",
        f"amqp://user:x[{SECRET}@rabbit.example.com//",
        f"amqp://a.example.com;amqp://user:{SECRET}#@b.example.com//",
        f"{SECRET}@rabbit.example.com",
        f"{SECRET}://rabbit.example.com",
        "",
    ],
)
def test_an_unreadable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CELERY_BROKER_URL") as raised:
        broker_settings(url)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("redis://:p%2F@redis.example.com:6380/0", "redis://:p%2F@redis.example.com:6380/1"),
        ("redis://redis.example.com", "redis://redis.example.com/1"),
        ("valkey://redis.example.com/1", "valkey://redis.example.com/0"),
        (
            "rediss://redis.example.com/5?ssl_ca_certs=/a/b.pem",
            "rediss://redis.example.com/1?ssl_ca_certs=/a/b.pem",
        ),
        ("sentinel://a,b:1/1?master_name=m", "sentinel://a,b:1/0?master_name=m"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=0"),
        ("redis://:12/34@redis.example.com/0", "redis://:12/34@redis.example.com/0"),
        ("amqp://redis.example.com/0", "amqp://redis.example.com/0"),
    ],
)
def test_another_database_beside(url: str, other: str) -> None:
    assert beside(url) == other
