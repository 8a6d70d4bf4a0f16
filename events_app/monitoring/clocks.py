"""The difference between this machine's clock and those of the servers.

Leases end by the clock of the database, entries of the stream have times of the clock of Redis, and
signatures and tokens are checked by the clock of web.
"""

import time
from collections.abc import Callable, Iterator

from django.db import connections

from events_app.dispatch.leases import events_database
from events_app.shared import redis
from events_app.shared.database import database_now
from events_app.shared.facts import DATABASE, REDIS, Depth, Level, Reading, declare, source

DIFFERENCE = declare(
    "clock_difference_seconds", "How far a server's clock is ahead of this machine's", labels=("server",)
)

#: Seconds of difference that are worth a warning.
MOST = 5.0


@source(Depth.EXAMINATION, REDIS, "Clocks")
def read_redis_clock() -> Iterator[Reading]:
    """The difference to the clock of Redis."""
    yield _compare("Redis", _redis_now)


@source(Depth.EXAMINATION, DATABASE, "Clocks")
def read_database_clock() -> Iterator[Reading]:
    """The difference to the clock of the database. SQLite has none of its own."""
    alias = events_database()
    if connections[alias].vendor != "sqlite":
        database_now(alias)  # connects, which takes longer
        yield _compare("the database", lambda: database_now(alias).timestamp())


def _redis_now() -> float:
    seconds, microseconds = redis.for_workers().time()
    return seconds + microseconds / 1e6


def _compare(server: str, now: Callable[[], float]) -> Reading:
    before = time.time()
    theirs = now()
    after = time.time()
    # The server read its clock at some time in between.
    difference = min(theirs - before, 0.0) or max(theirs - after, 0.0)
    if abs(difference) <= MOST:
        return DIFFERENCE.read(
            difference, server, text=f"The clocks of this machine and of {server} agree within {MOST:.0f} s."
        )
    relation = "ahead of" if difference > 0 else "behind"
    return DIFFERENCE.read(
        difference,
        server,
        level=Level.WARNING,
        text=f"The clock of {server} is {abs(difference):.0f} seconds {relation} this machine's.",
        advice="Synchronize the clocks of all machines with NTP: `timedatectl` tells whether this one is. "
        "Leases, signatures and waits go by these clocks.",
    )
