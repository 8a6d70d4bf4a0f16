"""A master, a replica and three sentinels, all with passwords: the smallest setting that fails over."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.process import Process, free_port, wait_for
from devstack.valkey import Valkey

MASTER_NAME = "events"
PASSWORD, SENTINEL_PASSWORD = "of the server: /@#", "of-the-sentinels"  # a configuration has no quoted one

#: Milliseconds after which a sentinel takes a silent server for dead.
DOWN_AFTER = 1000

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {name} 127.0.0.1 {master} 2
sentinel auth-pass {name} "{password}"
sentinel known-replica {name} 127.0.0.1 {replica}
sentinel down-after-milliseconds {name} {down_after}
sentinel failover-timeout {name} 10000
"""


@dataclass
class Sentinels:
    master: Valkey
    replica: Valkey
    #: By their ports.
    sentinels: dict[int, Process]

    def url(self, db: int) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return (
            f"sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{db}"
            f"?master_name={MASTER_NAME}&sentinel_password={SENTINEL_PASSWORD}"
        )

    def wait_for_replication(self) -> None:
        """Wait until the replica has all that the master has acknowledged."""
        with closing(connect(self.master.port, PASSWORD)) as master:
            master.set("replicated", 1)  # WAIT is about the writes of its own connection
            assert master.wait(1, 5000) == 1


def connect(port: int, password: str) -> Redis:
    return Redis(port=port, password=password, retry=Retry(NoBackoff(), 0), socket_timeout=5)


@contextmanager
def sentinels(folder: Path) -> Iterator[Sentinels]:
    """A setting whose sentinels know the replica and each other."""
    with ExitStack() as stack:
        master = stack.enter_context(Valkey(folder / "master"))
        replica = stack.enter_context(
            Valkey(folder / "replica", options={"replicaof": f"127.0.0.1 {master.port}"})
        )
        for valkey in (master, replica):
            with closing(Redis(port=valkey.port)) as server:
                server.config_set("masterauth", PASSWORD)
                server.config_set("requirepass", PASSWORD)
        found = Sentinels(master, replica, {})
        for _ in range(3):
            port = free_port()
            found.sentinels[port] = process = _start(folder, port, master, replica)
            stack.callback(process.kill)
        wait_for(lambda: all(map(_is_complete, found.sentinels)), seconds=60, what="the sentinels agree")
        yield found


def _start(folder: Path, port: int, master: Valkey, replica: Valkey) -> Process:
    home = folder / f"sentinel-{port}"
    home.mkdir()
    configuration = home / "sentinel.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port,
            master=master.port,
            replica=replica.port,
            name=MASTER_NAME,
            password=PASSWORD,
            sentinel_password=SENTINEL_PASSWORD,
            down_after=DOWN_AFTER,
        )
    )
    return Process([master.program, configuration, "--sentinel"], log=home / "sentinel.log", cwd=home)


def _is_complete(port: int) -> bool:
    """Whether the sentinel knows a working replica and both other sentinels."""
    with closing(connect(port, SENTINEL_PASSWORD)) as sentinel:
        try:
            ask: Any = sentinel
            state, replicas = ask.sentinel_master(MASTER_NAME), ask.sentinel_slaves(MASTER_NAME)
        except RedisError:
            return False
    # A sentinel prefers no replica without a link to its master.
    linked = [replica for replica in replicas if replica["master-link-status"] == "ok"]
    return bool(state["num-other-sentinels"] == 2 and linked)
