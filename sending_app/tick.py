"""Which mail is due and no bell announces? The answer to every lost bell, dead worker and pause that is over.

Beat asks each few seconds, and a worker asks after each of its tasks.
"""

from typing import NamedTuple

from redis import RedisError

from events_app import stream
from sending_app import claims, settlement
from sending_app.models import Part

#: Seconds between two ticks, whoever asks.
INTERVAL = 5

#: Seconds between two looks for parts that are too old, and for what has had its time.
SETTLE_EVERY, PRUNE_EVERY = 60, 3600


class Due(NamedTuple):
    """Which bells are to be rung."""

    mail: bool = False
    bulk: bool = False
    settle: bool = False
    prune: bool = False


def tick() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises a database error when the database is away. Without Redis everybody looks.
    """
    if not _hold("sending-tick", INTERVAL * 1000 - 500):
        return Due()
    return Due(
        mail=claims.anything_due(Part.Lane.MAIL),
        bulk=claims.anything_due(Part.Lane.BULK),
        settle=settlement.anything_due() or _hold("sending-settle", SETTLE_EVERY * 1000),
        prune=_hold("sending-prune", PRUNE_EVERY * 1000),
    )


def _hold(name: str, milliseconds: int) -> bool:
    try:
        return stream.hold(name, milliseconds)
    except RedisError:
        return True
