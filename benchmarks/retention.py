"""`./dev bench retention [SECONDS]`: whether the removal of old events keeps up with full intake.

The table begins with as many old events as come in during the measurement. They reach the end of their
retention one by one, as fast as new events come in, so a removal that keeps up leaves the table at its size.
"""

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from benchmarks import deployments, traffic
from benchmarks.end_to_end import Ours
from benchmarks.traffic import Post
from devstack.process import wait_for
from devstack.stack import EVENT_QUEUES
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch

if TYPE_CHECKING:
    from events_app.dispatch.retention import Removed

#: The goals: intake with removal as a share of intake alone, and removal as a multiple of intake alone.
SHARE, RATIO = 0.9, 1.5

#: Days of retention.
DAYS = 2

#: Events of a post, and the waiting events at which the client holds its next posts.
SIZE, WAITING = 1000, 20_000

#: Seconds of intake alone, before and after: the machine's speed changes during a long measurement. Longer
#: than the minute between two autovacuums, so that intake alone pays for autovacuum too.
ALONE = 90

#: The old events reach their end so much faster than the new ones came in before: the machine's speed varies.
FASTER = RATIO

# The events of a post are numbered, and the posts have different names.
_NAME, _TIME = "@" * 12, 1111111111

#: Rows that one INSERT of the fill makes, and the seconds that a million rows may take.
_STEP, _MILLION = 250_000, 30

# The event of row n reaches the end of its retention n / rate seconds after the start. A message has three
# events. As of ours, keys and message ids begin with the time.
_FILL = """
INSERT INTO events_app_event
    (key, event_type, event_id, message_id, recipient, timestamp, received_at, webhook, raw)
SELECT
    decode(lpad(to_hex(floor(at)::bigint), 8, '0') || substr(md5('key' || n), 1, 24), 'hex'),
    (ARRAY['queued', 'delivered', 'opened', 'clicked'])[1 + n %% 4],
    replace(encode(decode(md5('id' || n) || md5('id2' || n), 'hex'), 'base64'), '=', ''),
    (lpad(to_hex(floor(sent * 1000)::bigint), 12, '0') || substr(md5('message' || n / 3), 1, 20))::uuid::text,
    'reader' || n / 15 || '@example.com',
    to_timestamp(at), to_timestamp(at), 'tracking',
    convert_to(repeat(md5('raw' || n), 14), 'utf8')
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
    LATERAL (SELECT %(first_at)s + n / %(rate)s AS at, %(first_at)s + n / 3 * 3 / %(rate)s AS sent) AS times
"""

_STATE = """
SELECT rows.*, pg_total_relation_size('events_app_event'), n_dead_tup, autovacuum_count
FROM pg_stat_user_tables, (
    SELECT count(*), count(*) FILTER (WHERE received_at < now() - %s * interval '1 day') FROM events_app_event
) AS rows
WHERE relname = 'events_app_event'
"""


class State(NamedTuple):
    """The table of events."""

    rows: int
    #: Of these, the rows that the next look removes.
    old: int
    size: int
    dead: int
    vacuums: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows, {self.old:,} of them past their retention; {self.size / 1e6:,.0f} MB with"
            f" indexes; {self.dead:,} dead rows; {self.vacuums} autovacuums so far"
        )


class Speed(NamedTuple):
    """Of events that come in or are removed."""

    #: Events a second.
    rate: float
    #: Microseconds of CPU time an event, of all processes: servers, workers and client.
    cpu: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f} events/s, {self.cpu:.0f} us of CPU time each"


class Client:
    """Posts as many events as the deployment takes."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._sender = deployments.sender()
        self._numbers = count()
        events = generate_events(SIZE, 0)
        for number, event in enumerate(events):
            event |= {
                "anymail_id": f"{_NAME}-{number // 3}",
                "sg_event_id": f"{number}-{_NAME}",
                "timestamp": _TIME,
            }
            event["sg_message_id"] = f"{_NAME}-{number // 3}.recvd"
        self._template = event_batch(events)

    def post(self, seconds: float) -> Speed:
        """Post for some seconds, and wait until no event waits."""
        begin, cpu, received = time.monotonic(), _cpu_seconds(), self._ours.received()
        until = begin + seconds
        with ThreadPoolExecutor(traffic.CONNECTIONS) as pool:
            posts = [self._posts(until) for _ in range(traffic.CONNECTIONS)]
            list(pool.map(lambda each: traffic.send_in_turn(self._ours.url, each), posts))
        wait_for(self._ours.is_done, seconds=300, what="the last event")
        received = self._ours.received() - received
        rate = received / (time.monotonic() - begin)
        return Speed(rate, (_cpu_seconds() - cpu) / received * 1e6)

    def _posts(self, until: float) -> Iterator[Post]:
        from events_app import stream  # noqa: PLC0415 (it needs the apps)

        while time.monotonic() < until:
            if stream.backlog() >= WAITING:
                time.sleep(0.01)
                continue
            name = f"{next(self._numbers):0{len(_NAME)}}"
            body = self._template.replace(_NAME.encode(), name.encode())
            body = body.replace(str(_TIME).encode(), str(int(time.time())).encode())
            yield Post(body, self._sender.headers(body))


def main(seconds: int) -> None:
    ours = Ours(EVENT_RETENTION_DAYS=str(DAYS))
    database = psycopg.connect(ours.stack.env["DATABASE_URL"], autocommit=True)
    client = Client(ours)
    with ExitStack() as stack:
        stack.enter_context(ours.stack.web())
        # A separate worker for removal, as docs/capacity.md advises for full intake.
        fresh, *others = EVENT_QUEUES
        stack.enter_context(ours.stack.worker("--concurrency", "2", queues=[fresh]))
        stack.enter_context(ours.stack.worker("--concurrency", "1", name="retries", queues=others))
        stack.enter_context(ours.stack.beat())
        client.post(1)  # unmeasured
        rate = client.post(ALONE).rate * FASTER
        start = _fill(database, rate, seconds)
        client.post(1)  # unmeasured: after a checkpoint, and with new plans
        alone = [client.post(ALONE)]
        _say(f"intake alone: {alone[0]}")
        wait_for(lambda: time.time() > start, seconds=3600, what="the end of the first retention")
        _say(f"from now {rate:,.0f} events/s reach the end of their retention")
        first = _state(database)
        _say(f"at the start: {first}")
        together = client.post(seconds)
        last = _state(database)
        _say(f"intake with removal: {together}")
        _say(f"after {seconds} s: {last}")
        wait_for(lambda: not _state(database).old, seconds=300, what="the removal of the last old event")
        alone.append(client.post(ALONE))
        _say(f"intake alone: {alone[1]}")
    removal = _remove_alone()
    _say(f"removal alone: {removal}")
    rate, cpu = (sum(figures) / len(alone) for figures in zip(*alone, strict=True))
    _say(f"\nintake with removal, as a share of intake alone: {_goal(together.rate / rate, SHARE)}")
    _say(f"as far as CPU time tells, with all cores busy: {cpu / together.cpu:.2f}")
    _say(f"removal alone, as a multiple of intake alone: {_goal(removal.rate / rate, RATIO)}")
    grown = last.rows - first.rows
    _say(
        f"the table changed by {grown:+,} rows and {(last.size - first.size) / 1e6:+,.0f} MB; the next look"
        f" removes {last.old:,} rows: {'it does not grow' if grown <= last.old else 'it GROWS'}"
    )


def _goal(figure: float, goal: float) -> str:
    return f"{figure:.2f} (goal: {goal}, {'holds' if figure >= goal else 'MISSED'})"


def _fill(database: psycopg.Connection, rate: float, seconds: int) -> float:
    """Replace all events by old ones. Return the time when the first of them reaches its end."""
    rows = int(rate * seconds)
    start = time.time() + rows / 1e6 * _MILLION + 2 * ALONE
    database.execute("TRUNCATE events_app_event, events_app_pendingdelivery")
    for first in range(0, rows, _STEP):
        last = min(first + _STEP, rows) - 1
        database.execute(
            _FILL, {"first": first, "last": last, "first_at": start - DAYS * 86_400, "rate": rate}
        )
    database.execute("VACUUM (ANALYZE) events_app_event")
    database.execute("CHECKPOINT")
    _say(f"{rows:,} old events stored")
    return start


def _state(database: psycopg.Connection) -> State:
    row = database.execute(_STATE, [DAYS]).fetchone()
    assert row
    return State(*row)


def _remove_alone() -> Speed:
    """Remove events, old or not, without workers and vacuum."""
    from events_app.dispatch.leases import Lease  # noqa: PLC0415 (it needs the apps)
    from events_app.dispatch.retention import SLICE, remove_old_rows  # noqa: PLC0415

    removed = 0

    def add(slice_: "Removed") -> None:
        nonlocal removed
        removed += slice_.rows

    begin, cpu = time.perf_counter(), _cpu_seconds()
    remove_old_rows(Lease(), 0, SLICE, add)
    return Speed(removed / (time.perf_counter() - begin), (_cpu_seconds() - cpu) / removed * 1e6)


def _cpu_seconds() -> float:
    """The CPU time of all processes of the benchmark. It needs Linux."""
    children, seconds = defaultdict[int, list[int]](list), Counter[int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            children[int(fields[1])].append(pid)
            # Its own time, and that of its children that have ended, such as workers of autovacuum.
            seconds[pid] = sum(map(int, fields[11:15]))
    # The parent of this process has started the servers.
    total, pids = 0, [os.getppid()]
    while pids:
        pid = pids.pop()
        total += seconds[pid]
        pids += children[pid]
    return total / os.sysconf("SC_CLK_TCK")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 180)
