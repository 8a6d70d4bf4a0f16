"""What waits and nobody is at work on? The answer to every lost bell and every dead worker.

Beat asks each few seconds, and every drain asks too, so a missing beat only makes it slower.
"""

from typing import NamedTuple

from events_app import dispatch, stream

#: Seconds between two ticks, whoever asks.
INTERVAL = 5


class Due(NamedTuple):
    """Which bells are to be rung."""

    drain: bool
    recover: bool


def tick() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises redis.RedisError or a database error when either is away.
    """
    if not stream.hold("tick", INTERVAL * 1000 - 500):
        return Due(drain=False, recover=False)
    return Due(
        drain=stream.anything_to_read(dispatch.lease_ms()) or dispatch.anything_released(),
        recover=dispatch.anything_lapsed(),
    )
