"""The fact about the memory of the Redis of the stream. Monitors ask often: a full Redis takes no events."""

from collections.abc import Iterator, Mapping
from typing import Any

from redis import ResponseError

from events_app.shared import redis
from events_app.shared.facts import REDIS, Depth, Level, Reading, declare, source

MEMORY = declare("redis_memory_used_ratio", "The used part of the maxmemory of the stream's Redis")

#: The used part of the memory at which posts get 503 (`events_app.stream`), and one that is near.
FULL, NEARLY_FULL = 0.9, 0.75

_NAME = f"The Redis of {redis.REDIS_URL.name}"


@source(Depth.READINESS, REDIS, "Redis")
def read_memory() -> Iterator[Reading]:
    """Say when the memory is full, or nearly."""
    try:
        info = redis.for_workers().info("memory")
    except ResponseError:  # `redis_server` tells of a forbidden INFO
        return
    yield from memory_readings(info)


def memory_readings(info: Mapping[str, Any]) -> Iterator[Reading]:
    """The fact about the memory. `info` is the answer of INFO."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        yield MEMORY.read(
            None,
            level=Level.ADVICE,
            text=f"{_NAME} has no maxmemory: a long backlog can take all memory of its machine.",
            advice="Set maxmemory. docs/capacity.md computes how much.",
        )
        return
    part = used / most
    text = f"{part:.0%} of its maxmemory of {most / 2**20:.0f} MB is used."
    if part > NEARLY_FULL:
        refuses = "Posts get 503." if part > FULL else "At 90% posts get 503."
        yield MEMORY.read(
            part,
            level=Level.ERROR if part > FULL else Level.WARNING,
            text=f"{_NAME}: {text} {refuses}",
            advice="Does a worker store the events? Does another program fill this Redis? Raise maxmemory.",
        )
    else:
        yield MEMORY.read(part, text=text)
