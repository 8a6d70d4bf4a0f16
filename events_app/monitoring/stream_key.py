"""The facts about the stream's key in Redis: type, groups, and unfinished entries."""

from collections.abc import Iterator
from typing import Any, cast

from events_app import stream
from events_app.dispatch.leases import lease_duration, lease_duration_ms
from events_app.shared import redis
from events_app.shared.escaping import one_line
from events_app.shared.facts import REDIS, Depth, FactKind, Level, Reading, declare, source

TYPE = declare("stream_type", "The type of the stream's key in Redis", FactKind.TEXT)
FOREIGN_GROUPS = declare("stream_foreign_groups", "Consumer groups of other programs on the stream")
STUCK = declare("stream_stuck_entries", "Entries that a worker has read and not stored within its lease")

#: Stuck entries that are counted. More are told as "or more".
MOST_STUCK = 1000


@source(Depth.EXAMINATION, REDIS, "Redis")
def read_stream() -> Iterator[Reading]:
    """The facts about the stream."""
    server, key = redis.for_workers(), redis.key()
    kind = cast(bytes, server.type(key)).decode()
    if kind not in ("none", "stream"):
        yield TYPE.read(
            kind,
            level=Level.ERROR,
            text=f"The key {one_line(key)} holds a {kind} and not a stream. Every post gets 503.",
            advice=f"Another program uses the key. Set {redis.STREAM.name} to a name of your own.",
        )
        return
    groups = cast("list[dict[str, Any]]", server.xinfo_groups(key) if kind == "stream" else [])
    names = [group["name"].decode("utf-8", "replace") for group in groups]
    yield TYPE.read(kind, text=_state(kind, names))
    yield _foreign(key, [name for name in names if name != stream.GROUP])
    if stream.GROUP in names:
        yield _stuck(key)


def _state(kind: str, groups: list[str]) -> str:
    if kind == "none":
        return "The stream does not exist yet. The first post makes it."
    if stream.GROUP not in groups:
        return "The stream has events and no group yet. The first worker makes the group."
    return "The stream and its group exist."


def _foreign(key: str, names: list[str]) -> Reading:
    if not names:
        return FOREIGN_GROUPS.read(0)
    shown = one_line(", ".join(names))
    return FOREIGN_GROUPS.read(
        len(names),
        level=Level.WARNING,
        text=f"Another program reads the stream, with the consumer group {shown}. Workers delete each entry "
        "that they have stored, whether the other program has read it or not.",
        advice="Give the other program its own copy, from a receiver. If it is gone, remove its group: "
        f"XGROUP DESTROY '{one_line(key)}' NAME",
    )


def _stuck(key: str) -> Reading:
    pending = cast(
        "list[Any]",
        redis.for_workers().xpending_range(key, stream.GROUP, "-", "+", MOST_STUCK, idle=lease_duration_ms()),
    )
    if not pending:
        return STUCK.read(0)
    minutes = lease_duration().total_seconds() / 60
    more = " or more" if len(pending) == MOST_STUCK else ""
    return STUCK.read(
        len(pending),
        level=Level.WARNING,
        text=f"A worker has read {len(pending)}{more} entries of the stream more than {minutes:.0f} "
        "minutes ago, and has not stored the events.",
        advice="The next worker takes them again. Does one run, with the queue sendgrid.events? If so, its "
        "log says why it cannot store them.",
    )
