"""The facts in the INFO of a Redis server: version, role, durability and clients.

`events_app.redis_checks` makes system checks of the readings.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from redis import ResponseError

from events_app.shared import redis
from events_app.shared.facts import REDIS, Depth, FactKind, Level, Reading, declare, source

#: The first version with all commands of the stream and of kombu.
OLDEST = (6, 2)

#: The server with the stream, and the server of the broker: the value of a label, and the name in sentences.
STREAM, BROKER = "stream", "broker"
NAMES = {STREAM: f"The Redis of {redis.REDIS_URL.name}", BROKER: "The broker of the Celery app"}

VERSION = declare("redis_version", "The version of a Redis", FactKind.TEXT, ("server",))
ROLE = declare("redis_role", "Whether a Redis takes all writes", FactKind.TEXT, ("server",))
DURABILITY = declare("redis_durability", "The appendfsync of the stream's Redis", FactKind.TEXT)
DISK = declare("redis_disk_failed", "Whether the stream's Redis failed to write to its disk: 1 or 0")
EVICTION = declare("redis_eviction_policy", "The maxmemory-policy of the stream's Redis", FactKind.TEXT)
CLIENTS = declare("redis_clients_used_ratio", "The used part of the maxclients of the stream's Redis")

#: The used part of the clients that leaves no room for more workers.
MANY_CLIENTS = 0.9

_READ_DURABILITY = 'docs/deploy.md, "How durable it is", has the choices.'


@source(Depth.EXAMINATION, REDIS, "Redis")
def read_server() -> Iterator[Reading]:
    """The facts about the stream's Redis."""
    server = redis.for_workers()
    try:
        info = server.info()
    except ResponseError:
        yield VERSION.read(
            None,
            STREAM,
            level=Level.ADVICE,
            text="Redis answers, but forbids INFO: its version, durability and memory are not known.",
            advice=f"Allow the command to the user of {redis.REDIS_URL.name}: ACL SETUSER ... +info",
        )
        return
    yield from read_info(STREAM, info)
    yield from read_stream_info(info, read_fsync(info))


def read_info(server: str, info: Mapping[str, Any]) -> Iterator[Reading]:
    """The facts that matter for the stream's Redis and for a broker."""
    name = NAMES[server]
    version = str(info.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        yield VERSION.read(
            version,
            server,
            level=Level.ERROR,
            text=f"{name} has version {version}, which lacks commands.",
            advice="Use Redis 6.2 or newer, or Valkey.",
        )
    else:
        valkey = info.get("valkey_version")
        product = f"Valkey {valkey}" if valkey else f"Redis {version}"
        yield VERSION.read(version, server, text=f"{name} is {product}.")
    if info.get("cluster_enabled"):
        yield ROLE.read(
            "node of a cluster",
            server,
            level=Level.ERROR,
            text=f"{name} is a node of a cluster, which holds only some of the keys.",
            advice="Use a server without cluster mode. For failover: one with sentinels, or a hosted one.",
        )
    if info.get("role") == "slave":
        yield ROLE.read(
            "replica",
            server,
            level=Level.ERROR,
            text=f"{name} is a replica, which takes no writes.",
            advice="Use the address of the primary, or those of the sentinels.",
        )


def read_stream_info(info: Mapping[str, Any], fsync: str) -> Iterator[Reading]:
    """The facts that matter for the stream alone. `fsync` is appendfsync, "" if unknown."""
    name = NAMES[STREAM]
    yield _durability(info, fsync)
    yield _disk(info)
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-"):
        yield EVICTION.read(
            policy,
            level=Level.WARNING,
            text=f"{name} deletes events that wait when its memory is full.",
            advice=f"It has maxmemory-policy {policy}. Set noeviction, and use no cache.",
        )
    elif policy:
        yield EVICTION.read(policy, text=f"A full memory deletes no event ({policy}).")
    yield from _clients(info)


def read_fsync(info: Mapping[str, Any]) -> str:
    """The appendfsync of the stream's Redis; "" if it has no append-only file, or does not tell."""
    if not info.get("aof_enabled"):
        return ""
    try:
        answer = cast("dict[str, str]", redis.for_workers().config_get("appendfsync"))
    except ResponseError:  # many hosted servers forbid CONFIG
        return ""
    return answer.get("appendfsync", "")


def _durability(info: Mapping[str, Any], fsync: str) -> Reading:
    name = NAMES[STREAM]
    if info.get("aof_enabled") == 0:
        return DURABILITY.read(
            "off",
            level=Level.WARNING,
            text=f"{name} may lose events that wait when it restarts.",
            advice="Set appendonly yes and appendfsync always.",
        )
    if fsync == "always":
        text = "A crash loses no event that got a 200 (appendonly yes, appendfsync always)."
        return DURABILITY.read(fsync, text=text)
    if fsync == "everysec":
        return DURABILITY.read(
            fsync,
            level=Level.ADVICE,
            text="If its machine fails, the events of about the last second are lost (appendfsync everysec).",
            advice=f"Set appendfsync always if that is too much. {_READ_DURABILITY}",
        )
    if fsync == "no":
        return DURABILITY.read(
            fsync,
            level=Level.WARNING,
            text=f"{name} may lose the events of half a minute when its machine fails (appendfsync no).",
            advice=f"Set appendfsync always. {_READ_DURABILITY}",
        )
    return DURABILITY.read(
        "unknown",
        text="Its durability is not known: it does not tell appendfsync. Your provider's documentation does.",
    )


def _disk(info: Mapping[str, Any]) -> Reading:
    # After each of the first two Redis refuses writes (with its default stop-writes-on-bgsave-error).
    failures = {
        "the last write to its append-only file": info.get("aof_last_write_status"),
        "its last snapshot": info.get("rdb_last_bgsave_status"),
        "the last rewrite of its append-only file": info.get("aof_last_bgrewrite_status"),
    }
    failed = [what for what, status in failures.items() if status == "err"]
    if not failed:
        return DISK.read(0)
    return DISK.read(
        1,
        level=Level.ERROR,
        text=f"{NAMES[STREAM]} failed in {' and '.join(failed)}. It may refuse events.",
        advice="Its log has the reason, mostly a full disk or a lack of memory. Make room.",
    )


def _clients(info: Mapping[str, Any]) -> Iterator[Reading]:
    connected, most = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if not most:
        return
    part, text = connected / most, f"{connected} of {most} possible clients are connected."
    if part > MANY_CLIENTS:
        advice = "Raise maxclients, or find out which program opens so many connections: CLIENT LIST"
        yield CLIENTS.read(part, level=Level.WARNING, text=text, advice=advice)
    else:
        yield CLIENTS.read(part, text=text)
