"""`./dev bench growth [EVENTS ...]`: measures what becomes slower with EVENTS stored events.

It measures the deployment end to end (with a full table of events and an empty one, by turns), duplicates,
look-ups and retention; and the bytes of an event in Redis, in the WAL and on disk.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from statistics import median
from typing import NamedTuple

import psycopg

from benchmarks import deployments, floor, redis_memory, traffic
from benchmarks.end_to_end import Ours, rate
from benchmarks.event_tables import EventTables
from benchmarks.traffic import Traffic
from devstack.process import wait_for

#: The goal: throughput with stored events, as a share of that without; and from LARGE events.
GOAL, GOAL_OF_LARGE, LARGE = 0.9, 0.85, 30_000_000

#: Events of a round.
EVENTS = 30_000

#: Unmeasured rounds. Filling ends with a checkpoint. After it each index page goes whole into the WAL at its
#: first write. In production checkpoints are rare, so that costs almost nothing.
WARM = 4

#: Measured rounds, each with a round on empty tables before it.
PAIRS = 7

#: The number of removed events, the oldest.
OLD = 100_000

#: The number of look-ups; the median is printed.
LOOKS = 200

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
    wal_of_insert: float
    wal: float
    duplicates: float
    by_address: float
    by_message: float
    pruned: float
    table: float
    indexes: float

    def __str__(self) -> str:
        return (
            f"{self.size:>11,} {self.rate:>9,.0f} {self.of_empty:>9.2f} {self.wal_of_insert:>14,.0f}"
            f" {self.wal:>7,.0f} {self.duplicates:>13,.0f}"
            f" {self.by_address * 1000:>11.2f} {self.by_message * 1000:>11.2f} {OLD / self.pruned:>9,.0f}"
            f" {self.table:>8,.0f} {self.indexes:>8,.0f}"
        )


_HEAD = (
    "     events  events/s  of empty  WAL of insert     WAL  duplicates/s  address, ms  message, ms  pruned/s"
    "  table, B  indexes, B (an event)"
)


def main(sizes: Sequence[int]) -> None:
    ours = Ours()
    database = psycopg.connect(ours.stack.env["DATABASE_URL"], autocommit=True)
    with ours.stack.web():
        memory, raw = redis_memory.bytes_of_waiting(ours.stack, 0)
    _say(f"{memory:,.0f} bytes of Redis for a waiting event of {raw:,.0f} bytes")
    with ExitStack() as stack:
        ours.start(stack)
        growth = _Growth(ours, database)
        growth.round()  # unmeasured
        found = [growth.measure(size) for size in sorted(sizes)]
    print(f"\n{_HEAD}", *found, sep="\n", flush=True)
    ((mail,),) = database.execute(_MAIL).fetchall()
    _say(f"{mail:,.0f} bytes on disk for a mail to one recipient whose content has been dropped")
    held = all(line.of_empty >= goal(line.size) for line in found)
    goals = f"{GOAL} of the rate when empty, {GOAL_OF_LARGE} from {LARGE:,} events"
    _say(f"goal: {goals}; {'holds' if held else 'MISSED'}")


def goal(size: int) -> float:
    return GOAL_OF_LARGE if size >= LARGE else GOAL


class _Growth:
    """A running deployment, and its tables of events."""

    def __init__(self, ours: Ours, database: psycopg.Connection) -> None:
        self._ours, self._database = ours, database
        self._tables = EventTables(database, traffic.FIRST)
        self._seeds = count()

    def round(self) -> float:
        """The events a second of a round."""
        return rate(self._ours, self._traffic())

    def measure(self, size: int) -> Found:
        stored = self._tables.fill(size)
        _say(f"{stored:,} events stored")
        wal_of_insert = self._wal_of_inserts()
        self._database.execute("CHECKPOINT")
        wal = self._wal_of_round()
        _say(f"WAL after a checkpoint: {wal_of_insert:,.0f} bytes an inserted event, {wal:,.0f} in all")
        for _ in range(WARM):
            self.round()
        full, of_empty = self._rates()
        _say(f"{full:,.0f} events/s, {of_empty:.2f} of the rate when empty")
        about = self._traffic()
        rate(self._ours, about)
        duplicates = EVENTS / _seconds_again(self._ours, about)
        by_address = _look_up(self._database, "recipient", stored)
        by_message = _look_up(self._database, "message_id", stored)
        row = self._database.execute(_SIZES).fetchone()
        assert row
        pruned = _seconds_to_prune(self._database)
        return Found(
            stored, full, of_empty, wal_of_insert, wal, duplicates, by_address, by_message, pruned, *row
        )

    def _rates(self) -> tuple[float, float]:
        """The events a second with the stored events, and the share of the rate with none.

        Rounds by turns, and the median share of the pairs: the speed of the machine varies.
        """
        rates, shares = [], []
        for number in range(PAIRS):
            self._tables.show_empty()
            if not number:
                self.round()  # unmeasured
            empty = self.round()
            self._tables.show_full()
            rates.append(self.round())
            shares.append(rates[-1] / empty)
            _say(f"  {rates[-1]:,.0f} events/s, {empty:,.0f} when empty: {shares[-1]:.2f}")
        return median(rates), median(shares)

    def _traffic(self) -> Traffic:
        start = self._tables.clock
        self._tables.clock += EVENTS
        return traffic.make(deployments.sender(), EVENTS, 1000, next(self._seeds), start)

    def _wal_of_inserts(self) -> float:
        """The WAL bytes of an event, of inserts of the events alone."""
        from django.utils import timezone  # noqa: PLC0415 (it needs the apps)

        from events_app import sql  # noqa: PLC0415
        from events_app.views.split import split  # noqa: PLC0415

        rows = [
            [row for row, _ in floor.new_events(split(post.body), timezone.now()).values()]
            for post in self._traffic().posts
        ]
        before = self._wal_position()
        inserted = sum(len(sql.insert_new_events(batch, "default")) for batch in rows)
        return (self._wal_position() - before) / inserted

    def _wal_of_round(self) -> float:
        """The WAL bytes of an event, of all that the deployment writes."""
        about = self._traffic()
        self._ours.expect(about)
        before = self._wal_position()
        rate(self._ours, about._replace(mails=[]))
        return (self._wal_position() - before) / EVENTS

    def _wal_position(self) -> float:
        ((position,),) = self._database.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchall()
        return float(position)


def _seconds_again(ours: Ours, about: Traffic) -> float:
    """Post all events again; return the seconds until each is recognized as a duplicate."""
    began = time.perf_counter()
    traffic.send(ours.url, about.posts)
    wait_for(ours.is_done, seconds=300, what="the last duplicate")
    return time.perf_counter() - began


def _look_up(database: psycopg.Connection, column: str, stored: int) -> float:
    """Return the median seconds of a search for all events with one value of the column."""
    from events_app.filters import EventCriteria, find_events  # noqa: PLC0415 (it needs the apps)

    values = database.execute(
        f"SELECT {column} FROM events_app_event TABLESAMPLE SYSTEM ({5_000_000 / stored:.3f}) "
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
    while not remove_old_rows(Lease(), 30, SLICE, lambda _: None):
        pass  # the time budget of one call was over
    return time.perf_counter() - began


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000_000])
