"""The Redis stream: raw events, accepted and not yet stored.

A worker reads entries under a consumer group, stores the events, and then deletes the entries. If a worker
does not delete an entry within the lease, `read_entries` hands the entry out again. Needs Redis 6.2 or
Valkey.

An entry holds up to `MOST_EVENTS` raw events of a post. An entry per event would cost several times as much:
every entry has an id, a node and a reply in Redis.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from redis import RedisError, ResponseError

from events_app.conf import BACKLOG_LIMIT
from events_app.shared import counters, counting, redis
from events_app.shared.counters import Reason
from events_app.shared.redis_faults import describe
from events_app.shared.tracing import current_traceparent

#: Events in an entry, at most. A worker reads, stores and deletes the events of an entry together.
MOST_EVENTS = 100

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode

GROUP = "pipeline"
# All workers share a consumer name: only an entry's idle time matters, and names of dead workers would pile
# up in Redis.
CONSUMER = "worker"

#: Bytes of raw events. After this many a read stops.
MOST_BYTES = 16 * 1024 * 1024

# A script, so that Redis takes all events of a post or none. The script refuses before Redis is full: without
# free memory a worker can neither start nor receive a wake-up through a broker in the same Redis, and the
# backlog would stay. A key beside the stream counts the waiting events. If an operator deletes entries, the
# count is wrong until the stream is empty. The script also counts the post: the view has no time for a
# second round trip.
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
local trace = ARGV[7] ~= '' and {'t', ARGV[7]} or {}
for i = 8, #ARGV do redis.call('XADD', KEYS[1], '*', 'd', ARGV[1], 'r', ARGV[i], unpack(trace)) end
redis.call('SET', KEYS[3], waiting)
redis.pcall('HINCRBY', KEYS[4], ARGV[5], 1)
redis.pcall('HINCRBY', KEYS[4], ARGV[6], ARGV[4])
if redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[3]) then return 1 end
return 0
"""

# A script, so that a read of many small entries is one round trip. With appendfsync always, each command that
# hands out entries also waits for the disk. The script counts events without unpacking an entry: in
# MessagePack an array begins with its length.
_READ = """
local group, consumer, idle = ARGV[1], ARGV[2], ARGV[3]
local count, most_events, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local entries, events, bytes = {}, 0, 0

local function length(packed)
    local first, high, low = string.byte(packed, 1, 3)
    if first and first >= 0x90 and first <= 0x9f then return math.max(1, first - 0x90) end
    if first == 0xdc and low then return math.max(1, high * 256 + low) end
    return 1
end

local function take(replies)
    for _, entry in ipairs(replies) do
        -- Redis 6.2 returns nil for a claimed entry that was deleted.
        if entry and entry[2] then
            entries[#entries + 1] = entry
            local held = 1
            for i = 1, #entry[2], 2 do
                if entry[2][i] == 'r' then
                    held = length(entry[2][i + 1])
                    bytes = bytes + #entry[2][i + 1]
                end
            end
            events = events + held
        end
    end
end

local function is_full() return events >= count or bytes >= most_bytes end

-- The number of entries to read without many events beyond the count, or bytes if the next ones are as large.
local function step()
    local for_events = math.ceil((count - events) / most_events)
    if bytes == 0 then return for_events end
    return math.min(for_events, math.ceil(#entries * (most_bytes - bytes) / bytes))
end

if idle ~= '' then redis.call('DEL', KEYS[2]) end
local cursor = '0-0'
while idle ~= '' and not is_full() do
    local claimed = redis.pcall('XAUTOCLAIM', KEYS[1], group, consumer, idle, cursor, 'COUNT', step())
    if claimed.err then return claimed end
    take(claimed[2])
    cursor = claimed[1]
    if cursor == '0-0' then idle = '' end
end
while not is_full() do
    local most = step()
    local fresh = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most, 'STREAMS', KEYS[1], '>')
    if fresh and fresh.err then return fresh end
    fresh = fresh and fresh[1][2] or {}
    take(fresh)
    if #fresh < most then return {0, entries} end
end
-- Entries are handed out in the order of their ids: those after the last one are unread.
local last = idle == '' and #entries > 0 and entries[#entries][1]
return {last and #redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1) or 1, entries}
"""

# The arguments are the ids of entries, each followed by its number of events.
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
    """An entry of the stream, unpacked."""

    id: bytes
    webhook: str
    events: list[bytes]
    #: Of the post's span (`shared.tracing`).
    traceparent: str = ""

    @property
    def received_at(self) -> datetime:
        """When the webhook accepted the events, by the clock of Redis."""
        milliseconds, _, _ = self.id.partition(b"-")
        try:
            return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            # An operator added an entry under an id without a time. Redis counts on from such an id.
            return datetime.now(UTC)


def pack(events: Sequence[bytes]) -> list[bytes]:
    """The packed events of every entry to append."""
    return [_encode(events[at : at + MOST_EVENTS]) for at in range(0, len(events), MOST_EVENTS)]


def events_in(entries: Sequence[Entry]) -> int:
    """The number of events in the entries."""
    return sum(len(entry.events) for entry in entries)


def unpack(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The entry under this id. A worker stores foreign content as an unreadable event."""
    packed = fields.get(b"r", b"")
    try:
        events = _decode(packed) or [packed]
    except (msgspec.MsgspecError, ValueError):
        events = [packed]
    webhook, traceparent = (fields.get(name, b"").decode("utf-8", "replace") for name in (b"d", b"t"))
    return Entry(id, webhook, events, traceparent)


class AppendFailed(Exception):
    """Redis did not take the events: away, frozen, full, or the backlog is at the limit."""

    def __init__(self, why: str, reason: Reason = Reason.REDIS) -> None:
        super().__init__(why)
        self.reason = reason


class Oldest(NamedTuple):
    """The age of the oldest entry, by the clock of Redis."""

    now: datetime
    #: None without a waiting entry.
    received_at: datetime | None


class Batch(NamedTuple):
    """The entries of a read, and whether more entries may wait."""

    entries: list[Entry]
    more: bool


def append(webhook: str, events: Sequence[bytes]) -> bool:
    """Append every event, or no event. True if the caller must wake a worker.

    The entries get the current span, if that is sampled.

    Takes at most 2 seconds. Raises AppendFailed. If only the reply was lost, Redis has the events anyway: the
    retry of SendGrid then brings duplicates, and a worker drops duplicates.
    """
    if redis.is_circuit_open():
        raise AppendFailed("Redis failed a moment ago")
    limit = BACKLOG_LIMIT.get()
    try:
        answer = redis.script(_APPEND)(
            keys=[redis.key(), redis.key("wakeup"), redis.key("waiting"), redis.key(counting.KEY)],
            args=[
                *(webhook, limit, redis.WAKE_UP_LIFETIME, len(events)),
                counters.WEBHOOK_POSTS.field(webhook, "200", Reason.ACCEPTED),
                counters.EVENTS_RECEIVED.field(webhook),
                current_traceparent(),
                *pack(events),
            ],
            client=redis.for_webhooks(),
        )
    except RedisError as error:
        redis.open_circuit()
        raise AppendFailed(f"Redis: {describe(error)}") from error
    if answer == -2:
        raise AppendFailed("Redis has used nine tenths of its memory", Reason.FULL)
    if answer == -1:
        raise AppendFailed(f"the backlog is at its limit of {limit} events", Reason.FULL)
    return bool(answer)


def read_entries(count: int, idle: int) -> Batch:
    """Read entries of about `count` events; first the entries left unfinished for `idle` milliseconds.

    A read takes whole entries: up to `MOST_EVENTS` - 1 events more than `count`.

    First acknowledges the wake-up, so that a later `append` wakes a worker again. Stops after `MOST_BYTES`:
    an unreadable body is a single event of up to the webhook's limit, and a worker has no memory for
    hundreds of such events. Raises redis.RedisError.
    """
    return _read(count, str(idle))


def read_on(count: int) -> Batch:
    """As `read_entries`, in a worker that has just stored entries: only unread ones.

    Does not acknowledge a wake-up: the worker that gets its message does so. Otherwise every read would make
    room for a message, and the broker would have more messages than workers take.
    """
    return _read(count, "")


def _read(count: int, idle: str) -> Batch:
    try:
        more, replies = redis.script(_READ)(
            keys=[redis.key(), redis.key("wakeup")],
            args=[GROUP, CONSUMER, idle, count, MOST_EVENTS, MOST_BYTES],
            client=redis.for_workers(),
        )
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
        try:
            redis.for_workers().xgroup_create(redis.key(), GROUP, id="0", mkstream=True)
        except ResponseError as second:
            if not str(second).startswith("BUSYGROUP"):  # another worker was first
                raise
        return _read(count, idle)
    entries = [
        unpack(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in replies
    ]
    return Batch(entries, bool(more))


def needs_wake_up() -> bool:
    """Whether no wake-up is on its way; the caller must wake a worker then. True while Redis is away."""
    try:
        return bool(redis.for_wake_ups().set(redis.key("wakeup"), 1, nx=True, px=redis.WAKE_UP_LIFETIME))
    except RedisError:
        return True


def delete_entries(entries: Sequence[Entry]) -> None:
    """Delete entries after the events are stored."""
    if entries:
        redis.script(_DELETE)(
            keys=[redis.key(), redis.key("waiting")],
            args=[GROUP, *(word for entry in entries for word in (entry.id, len(entry.events)))],
            client=redis.for_workers(),
        )


def release_entries(entries: Sequence[Entry], idle: int) -> None:
    """Let the next reader take the entries at once, as if left unfinished for `idle` milliseconds."""
    if entries:
        ids = [entry.id for entry in entries]
        redis.for_workers().xclaim(redis.key(), GROUP, CONSUMER, 0, ids, idle=idle, justid=True)  # type: ignore[arg-type]


def backlog() -> int:
    """The number of waiting events: not yet read, or read and not yet stored."""
    entries = redis.for_workers().xlen(redis.key())
    return max(entries, int(redis.for_workers().get(redis.key("waiting")) or 0)) if entries else 0


def newest_id() -> bytes | None:
    """The id of the newest entry, read or not; None if the stream is empty."""
    entries: Any = redis.for_workers().xrevrange(redis.key(), count=1)
    return entries[0][0] if entries else None


def holds_up_to(entry_id: bytes) -> bool:
    """Whether an entry up to this id is not yet stored and deleted."""
    return bool(redis.for_workers().xrange(redis.key(), max=entry_id, count=1))


def oldest() -> Oldest:
    """When the oldest waiting entry was received: not yet read, or read and not yet stored.

    `received_at` is later than `now` if the clock of Redis was set back.
    """
    # In a transaction, and the time last: otherwise a new entry could seem to come from the future.
    pipeline = redis.for_workers().pipeline(transaction=True)
    pipeline.xrange(redis.key(), count=1)
    pipeline.time()
    entries, (seconds, microseconds) = pipeline.execute()
    redis_now = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return Oldest(redis_now, unpack(*entries[0]).received_at if entries else None)


def anything_to_read(idle: int) -> bool:
    """Whether `read_entries` would find an entry."""
    groups = redis.for_workers().xinfo_groups(redis.key()) if redis.for_workers().exists(redis.key()) else []
    ours = next((group for group in groups if group["name"] == GROUP.encode()), None)
    if ours is None:
        return redis.for_workers().xlen(redis.key()) > 0
    after = f"({ours['last-delivered-id'].decode()}"
    return bool(
        redis.for_workers().xrange(redis.key(), min=after, count=1)
        or redis.for_workers().xpending_range(redis.key(), GROUP, "-", "+", 1, idle=idle)
    )
