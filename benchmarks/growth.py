"""`./dev bench growth [EVENTS ...]`: measures what becomes slower with EVENTS stored events.

It measures the deployment end to end (with an empty database and a full one), duplicates, look-ups and
retention; and the bytes of an event in Redis and on disk.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from statistics import median
from typing import NamedTuple

import psycopg

from benchmarks import deployments, redis_memory, traffic
from benchmarks.end_to_end import ROUNDS, Ours, rate
from benchmarks.traffic import Traffic
from devstack.process import wait_for

#: The goal: throughput with stored events, as a share of that without.
GOAL = 0.9

#: Events of a round.
EVENTS = 30_000

#: Unmeasured rounds. Filling ends with a checkpoint. After it each index page goes whole into the WAL at its
#: first write. In production checkpoints are rare, so that costs almost nothing.
WARM = 4

#: The number of removed events, the oldest.
OLD = 100_000

#: The number of look-ups; the median is printed.
LOOKS = 200

# Rows of one INSERT. A message has three events, an address five messages, an event 600 bytes.
_STEP = 250_000
_FILL = """
INSERT INTO events_app_event
    (key, event_type, event_id, message_id, recipient, timestamp, received_at, webhook, raw)
SELECT
    decode(md5('key' || n), 'hex'),
    (ARRAY['queued', 'delivered', 'opened', 'clicked'])[1 + n % 4],
    replace(encode(decode(md5('id' || n) || md5('id2' || n), 'hex'), 'base64'), '=', ''),
    md5('message' || n / 3)::uuid::text,
    'reader' || ('x' || substr(md5('address' || n / 3), 1, 8))::bit(32)::bigint % greatest({size} / 15, 1)
        || '@example.com',
    now() - interval '1 day', now() - interval '1 day', 'tracking',
    convert_to(repeat(md5('raw' || n), 18), 'utf8')
FROM generate_series({first}::bigint, {last}::bigint) AS n
"""

_AGE = """
UPDATE events_app_event SET received_at = now() - interval '60 days'
WHERE id < (SELECT id FROM events_app_event ORDER BY id OFFSET {old} LIMIT 1)
"""

_SIZES = """
SELECT
    pg_table_size('events_app_event')::float / count(*),
    pg_indexes_size('events_app_event')::float / count(*)
FROM events_app_event
"""

_MAIL = """
SELECT (
    pg_total_relation_size('sending_app_outboxmessage') + pg_total_relation_size('sending_app_mail')
    + pg_total_relation_size('sending_app_recipient')
)::float / (SELECT count(*) FROM sending_app_recipient)
"""


class Found(NamedTuple):
    """One line of the table."""

    size: int
    rate: float
    of_empty: float
    duplicates: float
    by_address: float
    by_message: float
    pruned: float
    table: float
    indexes: float

    def __str__(self) -> str:
        return (
            f"{self.size:>11,} {self.rate:>9,.0f} {self.of_empty:>9.2f} {self.duplicates:>13,.0f}"
            f" {self.by_address * 1000:>11.2f} {self.by_message * 1000:>11.2f} {OLD / self.pruned:>9,.0f}"
            f" {self.table:>8,.0f} {self.indexes:>8,.0f}"
        )


_HEAD = (
    "     events  events/s  of empty  duplicates/s  address, ms  message, ms  pruned/s  table, B  indexes, B"
    " (an event)"
)


def main(sizes: Sequence[int]) -> None:
    ours = Ours()
    seeds = count()
    database = psycopg.connect(ours.stack.env["DATABASE_URL"], autocommit=True)
    with ours.stack.web():
        memory, raw = redis_memory.bytes_of_waiting(ours.stack, next(seeds))
    _say(f"{memory:,.0f} bytes of Redis for a waiting event of {raw:,.0f} bytes")
    with ExitStack() as stack:
        ours.start(stack)
        _rates(ours, seeds, 1)  # unmeasured
        empty = median(_rates(ours, seeds, ROUNDS))
        _say(f"{empty:,.0f} events/s with hardly any stored")
        found = [_measure(ours, database, size, empty, seeds) for size in sorted(sizes)]
    print(f"\n{_HEAD}", *found, sep="\n", flush=True)
    ((mail,),) = database.execute(_MAIL).fetchall()
    _say(f"{mail:,.0f} bytes on disk for a mail to one recipient whose content has been dropped")
    held = all(one.of_empty >= GOAL for one in found)
    _say(f"goal: {GOAL} of the rate when empty; {'holds' if held else 'MISSED'}")


def _measure(ours: Ours, database: psycopg.Connection, size: int, empty: float, seeds: "count[int]") -> Found:
    stored = _fill(database, size)
    _rates(ours, seeds, WARM)
    full = median(_rates(ours, seeds, ROUNDS))
    _say(f"{full:,.0f} events/s, {full / empty:.2f} of the rate when empty")
    about = _traffic(next(seeds))
    rate(ours, about)
    duplicates = EVENTS / _seconds_again(ours, about)
    by_address, by_message = _look_up(database, "recipient"), _look_up(database, "message_id")
    row = database.execute(_SIZES).fetchone()
    assert row
    pruned = _seconds_to_prune(database)
    return Found(stored, full, full / empty, duplicates, by_address, by_message, pruned, *row)


def _rates(ours: Ours, seeds: "count[int]", rounds: int) -> list[float]:
    return [rate(ours, _traffic(next(seeds))) for _ in range(rounds)]


def _traffic(seed: int) -> Traffic:
    return traffic.make(deployments.sender(), EVENTS, 1000, seed)


def _fill(database: psycopg.Connection, size: int) -> int:
    """Store events until there are `size`. Return their number: earlier rounds may have stored more."""
    began = time.perf_counter()
    ((there,),) = database.execute("SELECT count(*) FROM events_app_event").fetchall()
    for first in range(there, size, _STEP):
        last = min(first + _STEP, size) - 1
        # The ids of a fill begin at ten times its size, so a later fill does not restore pruned events.
        database.execute(_FILL.format(size=size, first=size * 10 + first, last=size * 10 + last).encode())
        _say(f"  {last + 1:,} of {size:,} after {time.perf_counter() - began:.0f} s")
    database.execute("VACUUM (ANALYZE) events_app_event")
    database.execute("CHECKPOINT")
    stored: int = max(there, size)
    _say(f"{stored:,} events stored")
    return stored


def _seconds_again(ours: Ours, about: Traffic) -> float:
    """Post all events again; return the seconds until each is recognized as a duplicate."""
    began = time.perf_counter()
    traffic.send(ours.url, about.posts)
    wait_for(ours.is_done, seconds=300, what="the last duplicate")
    return time.perf_counter() - began


def _look_up(database: psycopg.Connection, column: str) -> float:
    """Return the median seconds of a search for all events with one value of the column."""
    from events_app.filters import EventCriteria, find_events  # noqa: PLC0415 (it needs the apps)

    values = database.execute(
        f"SELECT {column} FROM events_app_event TABLESAMPLE SYSTEM (0.5) "
        f"ORDER BY random() LIMIT {LOOKS}".encode()
    )
    took = []
    for (value,) in values.fetchall():
        wanted = EventCriteria(address=value) if column == "recipient" else EventCriteria(message_id=value)
        began = time.perf_counter()
        assert list(find_events(wanted))
        took.append(time.perf_counter() - began)
    return median(took)


def _seconds_to_prune(database: psycopg.Connection) -> float:
    from events_app.dispatch.leases import Lease  # noqa: PLC0415
    from events_app.dispatch.retention import SLICE, remove_old_rows  # noqa: PLC0415

    database.execute(_AGE.format(old=OLD).encode())
    database.execute("VACUUM events_app_event")
    began = time.perf_counter()
    while not remove_old_rows(Lease(), 30, SLICE, "id", lambda _: None):
        pass  # the time budget of one call was over
    return time.perf_counter() - began


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000_000])
