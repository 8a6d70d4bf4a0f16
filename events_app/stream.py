"""The Redis stream: raw events that are accepted and not yet stored.

A worker reads entries under one consumer group, stores their events, and then deletes them; an entry
that was read and not deleted for longer than the lease is handed out again. Needs Redis 6.2 or Valkey.

An entry bears some raw events of one post. An entry an event would cost Redis and us several times as much:
each has an id, a node and an answer of its own, whatever is in it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from math import ceil
from typing import Any, NamedTuple, cast

import msgspec
from redis import RedisError, ResponseError

from events_app.conf import BACKLOG_LIMIT
from events_app.shared import redis

#: Events an entry bears at most; they are read, stored and deleted together.
MOST_EVENTS = 100

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode

GROUP = "pipeline"
# One name for all workers: whose an entry was does not matter, only how long it has been idle,
# and names of workers that are gone would pile up in Redis.
CONSUMER = "worker"

#: Bytes of raw events after which a read takes no more.
MOST_BYTES = 16 * 1024 * 1024

# One script, so that a post is taken whole or not at all. It stops short of a full Redis: with no
# memory left a worker can neither start nor take a wake-up from a broker in there, and nothing drains.
# How many events wait is a number beside the stream. It is right again as soon as the stream has
# been empty, whoever took entries out of it by hand.
_APPEND = """
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
    local used, most = memory:match('used_memory:(%d+)'), memory:match('maxmemory:(%d+)')
    if used and most and tonumber(most) > 0 and used / most > 0.9 then return -2 end
end
local waiting = redis.call('XLEN', KEYS[1])
if waiting > 0 then waiting = math.max(waiting, tonumber(redis.call('GET', KEYS[3]) or 0)) end
waiting = waiting + ARGV[4]
if waiting > tonumber(ARGV[2]) then return -1 end
for i = 5, #ARGV do redis.call('XADD', KEYS[1], '*', 'd', ARGV[1], 'r', ARGV[i]) end
redis.call('SET', KEYS[3], waiting)
if redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[3]) then return 1 end
return 0
"""

# The ids of entries, each with how many events it bears.
_DELETE = """
local gone = 0
for i = 2, #ARGV, 2 do
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then gone = gone + ARGV[i + 1] end
end
if redis.call('XLEN', KEYS[1]) > 0 then
    redis.call('DECRBY', KEYS[2], gone)
else
    redis.call('DEL', KEYS[2])
end
"""


class Entry(NamedTuple):
    """Raw events as they wait in the stream."""

    id: bytes
    webhook: str
    events: list[bytes]

    @property
    def received_at(self) -> datetime:
        """When the webhook took them, by the clock of Redis."""
        milliseconds, _, _ = self.id.partition(b"-")
        try:
            return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            # Somebody put an entry here under an id of their own, and Redis counts on from there.
            return datetime.now(UTC)


def pack(events: Sequence[bytes]) -> list[bytes]:
    """What is to wait, an item an entry."""
    return [_encode(events[at : at + MOST_EVENTS]) for at in range(0, len(events), MOST_EVENTS)]


def events_in(entries: Sequence[Entry]) -> int:
    """How many events they bear together."""
    return sum(len(entry.events) for entry in entries)


def unpack(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The entry that Redis has under this id. What is not ours is one event, to be stored as unreadable."""
    packed = fields.get(b"r", b"")
    try:
        events = _decode(packed) or [packed]
    except (msgspec.MsgspecError, ValueError):
        events = [packed]
    return Entry(id, fields.get(b"d", b"").decode("utf-8", "replace"), events)


class Unavailable(Exception):
    """Redis did not take the events: away, frozen, full, or the backlog is at its limit."""


class Oldest(NamedTuple):
    """The entry that has waited longest, and the time; both by the clock of Redis."""

    now: datetime
    #: None where no entry waits.
    received_at: datetime | None


class Reading(NamedTuple):
    """What a worker took from the stream, and whether it left anything behind."""

    entries: list[Entry]
    more: bool


def append(webhook: str, events: Sequence[bytes]) -> bool:
    """Keep every event, or none. True when the caller is to wake a worker.

    Takes 2 seconds at the most. Raises Unavailable; the events may have been taken all the same
    (the answer got lost), which is what the dedupe is for.
    """
    if redis.is_circuit_open():
        raise Unavailable("Redis failed a moment ago")
    limit = BACKLOG_LIMIT.get()
    try:
        answer = _script(_APPEND)(
            keys=[redis.key(), redis.key("wakeup"), redis.key("waiting")],
            args=[webhook, limit, redis.WAKE_UP_LIFETIME, len(events), *pack(events)],
            client=redis.for_webhooks(),
        )
    except RedisError as error:
        redis.open_circuit()
        raise Unavailable(f"Redis: {type(error).__name__}") from error
    if answer == -2:
        raise Unavailable("Redis has used nine tenths of its memory")
    if answer == -1:
        raise Unavailable(f"the backlog is at its limit of {limit} events")
    return bool(answer)


def read(count: int, idle: int) -> Reading:
    """Entries of `count` events; first those that lay unfinished for `idle` milliseconds.

    They are read whole: where a stretch of small ones ends, it may be three times as many events.

    Acknowledges the wake-up first, so that whatever is appended from here on sends a new one. Stops early
    where entries are large: a body that could not be split is one event of up to the webhook's limit,
    and some hundreds of those would be more than a worker can hold.
    """
    redis.for_workers().delete(redis.key("wakeup"))
    found: list[Entry] = []
    events = size = 0
    step = ceil(count / MOST_EVENTS)
    while events < count and size < MOST_BYTES:
        try:
            part = _read(step, idle)
        except RedisError:
            if not found:
                raise
            break  # what was read before Redis went is ours to store; left, it would wait for its lease
        found += part
        if len(part) < step:
            return Reading(found, more=False)
        events += events_in(part)
        size += sum(len(raw) for entry in part for raw in entry.events)
        # As many as it takes if they bear what those before them bore, and not many more if they are full.
        for_events = len(found) * (count - events) / max(events, 1)
        for_bytes = len(found) * (MOST_BYTES - size) / max(size, 1)
        step = min(2 * ceil((count - events) / MOST_EVENTS), ceil(for_events), ceil(for_bytes))
    return Reading(found, more=True)


def _read(count: int, idle: int) -> list[Entry]:
    try:
        claimed: Any = redis.for_workers().xautoclaim(
            redis.key(), GROUP, CONSUMER, min_idle_time=idle, start_id="0-0", count=count
        )
        found = claimed[1]
        if len(found) < count:
            fresh = redis.for_workers().xreadgroup(
                GROUP, CONSUMER, {redis.key(): ">"}, count=count - len(found)
            )
            found += [entry for _, entries in cast(Any, fresh or ()) for entry in entries]
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
        _create_group()
        return _read(count, idle)
    # Redis 6.2 hands out a claimed entry that has been deleted as None.
    return [unpack(entry_id, fields) for entry_id, fields in found if fields]


def delete(entries: Sequence[Entry]) -> None:
    """Forget entries whose events are stored."""
    if entries:
        _script(_DELETE)(
            keys=[redis.key(), redis.key("waiting")],
            args=[GROUP, *(word for entry in entries for word in (entry.id, len(entry.events)))],
            client=redis.for_workers(),
        )


def release(entries: Sequence[Entry], idle: int) -> None:
    """Let the next reader have these at once, as if they had lain unfinished for `idle` milliseconds."""
    if entries:
        ids = [entry.id for entry in entries]
        redis.for_workers().xclaim(redis.key(), GROUP, CONSUMER, 0, ids, idle=idle, justid=True)  # type: ignore[arg-type]


def backlog() -> int:
    """How many events wait: not yet read, or read and not yet stored."""
    entries = redis.for_workers().xlen(redis.key())
    return max(entries, int(redis.for_workers().get(redis.key("waiting")) or 0)) if entries else 0


def oldest() -> Oldest:
    """The entry that has waited longest: not yet read, or read and not yet stored.

    `received_at` is later than `now` where the clock of Redis has been set back.
    """
    # In one transaction and the time last: an entry that comes in between would seem to be of the future.
    pipeline = redis.for_workers().pipeline(transaction=True)
    pipeline.xrange(redis.key(), count=1)
    pipeline.time()
    entries, (seconds, microseconds) = pipeline.execute()
    now = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return Oldest(now, unpack(*entries[0]).received_at if entries else None)


def anything_to_read(idle: int) -> bool:
    """Whether `read` would find an entry."""
    groups = redis.for_workers().xinfo_groups(redis.key()) if redis.for_workers().exists(redis.key()) else []
    ours = next((group for group in groups if group["name"] == GROUP.encode()), None)
    if ours is None:
        return redis.for_workers().xlen(redis.key()) > 0
    after = f"({ours['last-delivered-id'].decode()}"
    return bool(
        redis.for_workers().xrange(redis.key(), min=after, count=1)
        or redis.for_workers().xpending_range(redis.key(), GROUP, "-", "+", 1, idle=idle)
    )


def _create_group() -> None:
    try:
        redis.for_workers().xgroup_create(redis.key(), GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # another worker was first
            raise


@cache
def _script(text: str) -> Any:
    return redis.for_webhooks().register_script(text)
