"""The tables of the events for `growth`: filled to a size, and an empty pair beside the full one."""

import shutil
import time

import psycopg

#: Both tables of the events. They move together, as one refers to the other.
_TABLES = ("events_app_event", "events_app_pendingdelivery")

#: The schemas of the pair that the deployment does not see.
_EMPTY, _FULL = "bench_empty", "bench_full"

#: Bytes on disk of an event with its indexes, more than is measured.
_EVENT = 1200

#: Bytes on disk that filling and measuring need beside the events: WAL, and sorting.
_BESIDE = 12 * 10**9

# Rows of one INSERT. A message has three events, an address five messages, an event 600 bytes. Four events a
# second, in their order: keys and message ids begin with the time. `n` is new in each fill.
_STEP = 250_000
_FILL = """
INSERT INTO events_app_event
    (key, event_type, event_id, message_id, recipient, timestamp, received_at, webhook, raw)
SELECT
    {key},
    (ARRAY['queued', 'delivered', 'opened', 'clicked'])[1 + n % 4],
    replace(encode(decode(md5('id' || n) || md5('id2' || n), 'hex'), 'base64'), '=', ''),
    {message_id},
    'reader' || ('x' || substr(md5('address' || n / 3), 1, 8))::bit(32)::bigint % greatest({size} / 15, 1)
        || '@example.com',
    to_timestamp({second}), now() - interval '1 day', 'tracking',
    convert_to(repeat(md5('raw' || n), 18), 'utf8')
FROM generate_series({first}::bigint, {last}::bigint) AS n
"""
_SECOND = "({start} + (n - {first}) / {a_second})"
_KEY = "decode(lpad(to_hex({second}), 8, '0') || substr(md5('key' || n), 1, 24), 'hex')"
# A UUID of version 7, of the millisecond of the message.
_MESSAGE_ID = (
    "(lpad(to_hex(({start} + (n / 3 * 3 - {first}) / {a_second}) * 1000 + n / 3 % 1000), 12, '0') || '7' "
    "|| substr(md5('message' || n / 3), 1, 3) || '8' || substr(md5('message' || n / 3), 4, 15))::uuid::text"
)
A_SECOND = 4

_AUTOVACUUM = """
SELECT unnest(reloptions) FROM pg_class WHERE oid = 'public.events_app_pendingdelivery'::regclass
"""


class EventTables:
    """The events of a deployment. Only a database of benchmarks: it moves the tables of the deployment.

    The deployment sees the full tables, or those of `show_empty`. `clock` is the Unix time after the newest
    event.
    """

    def __init__(self, database: psycopg.Connection, first: int) -> None:
        self._database = database
        # A run on a kept database may have been broken off.
        if self._is_set_aside(_FULL):
            self.show_full()
        database.execute(f"DROP SCHEMA IF EXISTS {_EMPTY} CASCADE".encode())
        database.execute("DELETE FROM events_app_pendingdelivery")
        database.execute(f"CREATE SCHEMA {_EMPTY}; CREATE SCHEMA IF NOT EXISTS {_FULL}".encode())
        for table in _TABLES:
            database.execute(f"CREATE TABLE {_EMPTY}.{table} (LIKE public.{table} INCLUDING ALL)".encode())
        events, pending = _TABLES
        options = ", ".join(option for (option,) in database.execute(_AUTOVACUUM).fetchall())
        database.execute(
            f"ALTER TABLE {_EMPTY}.{pending} SET ({options}), ADD FOREIGN KEY (event_id) "
            f"REFERENCES {_EMPTY}.{events} DEFERRABLE INITIALLY DEFERRED".encode()
        )
        newest = database.execute(
            "SELECT extract(epoch FROM timestamp)::bigint FROM events_app_event ORDER BY id DESC LIMIT 1"
        ).fetchone()
        self.clock: int = max(first, newest[0] + 100_000 if newest else 0)

    def show_empty(self) -> None:
        """Let the deployment see tables without events. Nothing may be pending."""
        self._database.execute(f"TRUNCATE {', '.join(f'{_EMPTY}.{table}' for table in _TABLES)}".encode())
        self._move(_FULL, _EMPTY)

    def show_full(self) -> None:
        self._move(_EMPTY, _FULL)

    def _move(self, away: str, back: str) -> None:
        with self._database.transaction():
            for schema, target in (("public", away), (back, "public")):
                for table in _TABLES:
                    self._database.execute(f"ALTER TABLE {schema}.{table} SET SCHEMA {target}".encode())

    def _is_set_aside(self, schema: str) -> bool:
        row = self._database.execute("SELECT to_regclass(%s)", [f"{schema}.{_TABLES[0]}"]).fetchone()
        return row is not None and row[0] is not None

    def fill(self, size: int) -> int:
        """Store events until there are `size`. Return their number: there may have been more.

        Raises SystemExit if the disk has too little space. A fill that was broken off goes on when the
        database was kept.
        """
        began = time.perf_counter()
        there: int
        newest: int
        ((there, newest),) = self._database.execute(
            "SELECT count(*), coalesce(max(id), 0) FROM events_app_event"
        ).fetchall()
        self.check_disk(max(size - there, 0))
        for stored in range(there, size, _STEP):
            count = min(_STEP, size - stored)
            first = newest + 1 + stored - there
            self._database.execute(fill_statement(size, first, count, self.clock).encode())
            self.clock += count // A_SECOND + 1
            print(f"  {stored + count:,} of {size:,} after {time.perf_counter() - began:.0f} s", flush=True)
        self._database.execute("VACUUM (ANALYZE) events_app_event")
        self._database.execute("CHECKPOINT")
        return max(there, size)

    def check_disk(self, count: int) -> None:
        """Raise SystemExit if the server's disk has too little space for so many more events."""
        row = self._database.execute("SHOW data_directory").fetchone()
        assert row
        needed, free = count * _EVENT + _BESIDE, shutil.disk_usage(row[0]).free
        if free < needed:
            raise SystemExit(
                f"bench: {count:,} more events need {needed / 10**9:.0f} GB on the disk of {row[0]}, "
                f"which has {free / 10**9:.0f} GB free. Name a folder on another disk with --keep FOLDER."
            )


def fill_statement(size: int, first: int, count: int, start: int) -> str:
    """The INSERT of `count` events, out of `size`, from the Unix time `start`. `first` is a new number."""
    parts = {"first": first, "start": start, "a_second": A_SECOND}
    second = _SECOND.format(**parts)
    return _FILL.format(
        size=size,
        first=first,
        last=first + count - 1,
        second=second,
        key=_KEY.format(second=second),
        message_id=_MESSAGE_ID.format(**parts),
    )
