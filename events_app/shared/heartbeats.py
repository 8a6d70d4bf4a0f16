"""The heartbeats of Celery workers in the stream's Redis: which workers take messages of which queues.

A hash beside the stream has a field for each worker: the time of its last heartbeat by the clock of Redis,
and the worker. A worker without a heartbeat for `STALE` seconds is gone.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

from events_app.shared import redis
from events_app.shared.facts import Level, Reading, declare

#: Seconds between two heartbeats of a worker.
INTERVAL = 5

#: Seconds without a heartbeat after which a worker is gone. A heartbeat may be late on a busy machine.
STALE = 20

WORKERS = declare("workers", "Workers that take messages of the queue", labels=("queue",))

# Also removes the workers that are gone: each new container has a new name.
_RECORD = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local workers = redis.call('HGETALL', KEYS[1])
for i = 1, #workers, 2 do
    local heard = tonumber(string.match(workers[i + 1], '^%d+')) or 0
    if now - heard > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], workers[i]) end
end
"""


class Worker(NamedTuple):
    """A Celery worker."""

    #: As Celery has it, such as "worker@host".
    name: str
    queues: tuple[str, ...]
    #: Tasks that the pool runs at a time.
    pool_size: int


def record_heartbeat(id: str, worker: Worker) -> None:
    """Record a heartbeat. `id` is the process: two workers may have the same name. Raises RedisError."""
    text = json.dumps(worker._asdict())
    redis.script(_RECORD)(keys=[redis.key("workers")], args=[id, text, STALE], client=redis.for_workers())


def remove(id: str) -> None:
    """Remove a worker that stops. Raises RedisError."""
    redis.for_wake_ups().hdel(redis.key("workers"), id)


def workers() -> list[Worker]:
    """The workers that live, by name. Raises RedisError."""
    pipeline = redis.for_workers().pipeline(transaction=False)
    pipeline.hgetall(redis.key("workers"))
    pipeline.time()
    recorded, (now, _) = cast("tuple[dict[bytes, bytes], tuple[int, int]]", pipeline.execute())
    return sorted(worker for text in recorded.values() for worker in _read(text, now))


def _read(text: bytes, now: int) -> Iterator[Worker]:
    heard, _, rest = text.partition(b" ")
    with suppress(ValueError, TypeError, KeyError):  # of another program, which must not hide the workers
        if now - int(heard) <= STALE:
            fields: dict[str, Any] = json.loads(rest)
            yield Worker(str(fields["name"]), tuple(map(str, fields["queues"])), int(fields["pool_size"]))


def read_queues(work: Mapping[str, str]) -> Iterator[Reading]:
    """Count the workers of each queue. `work` names the work by its queue, such as "new events"."""
    living = workers()
    for queue, things in work.items():
        count = sum(queue in worker.queues for worker in living)
        if count:
            takes = "worker takes" if count == 1 else "workers take"
            yield WORKERS.read(count, queue, text=f"{count} {takes} {things}: queue {queue}.")
        else:
            yield WORKERS.read(
                0,
                queue,
                level=Level.ERROR,
                text=f"No worker takes {things}: queue {queue}.",
                advice=f"Start a worker with -Q {queue}. Until then this work waits.",
            )
