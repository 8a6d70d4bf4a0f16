"""What waits and nobody is at work on? The answer to every lost bell and every dead worker.

Beat asks each few seconds, and every drain asks too, so a missing beat only makes it slower.
"""

import logging
from typing import NamedTuple, cast

from events_app import claims, counters, redis, stream
from events_app.conf import RETENTION_DAYS
from events_app.inbound import storage
from events_app.inbound.mails import MAILS

logger = logging.getLogger(__name__)

#: Seconds between two ticks, whoever asks.
INTERVAL = 5

#: Seconds without a tick of beat's after which whoever asks says so.
LATE = 30

#: Seconds between two looks for what is at the end of their retention.
PRUNE_EVERY = 3600


class Due(NamedTuple):
    """Which bells are to be rung."""

    drain: bool = False
    retry: bool = False
    recover: bool = False
    prune: bool = False
    inbound: bool = False
    inbound_retry: bool = False
    inbound_recover: bool = False
    inbound_prune: bool = False


def tick() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises redis.RedisError or a database error when either is away.
    """
    if not stream.hold("tick", INTERVAL * 1000 - 500):
        return Due()
    _report_late_beat()
    return Due(
        drain=fresh_events_wait(),
        retry=claims.anything_to_retry(),
        recover=claims.anything_lapsed(),
        prune=RETENTION_DAYS.get() is not None and stream.hold("prune", PRUNE_EVERY * 1000),
        inbound=fresh_mails_wait(),
        inbound_retry=claims.anything_to_retry(MAILS),
        inbound_recover=claims.anything_lapsed(MAILS),
        inbound_prune=storage.is_there() and stream.hold("inbound_prune", PRUNE_EVERY * 1000),
    )


def fresh_events_wait() -> bool:
    """Whether a drain would find an event. Raises redis.RedisError or a database error."""
    return stream.anything_to_read(claims.lease_ms()) or claims.anything_released()


def fresh_mails_wait() -> bool:
    """Whether there is an inbound mail that no worker has begun. Raises a database error."""
    return claims.anything_released(MAILS)


def heard_from_beat() -> None:
    """This tick is one of beat's, or of a worker that has just started."""
    redis.worker().set(redis.key("beat"), _now())


def since_beat() -> int | None:
    """Seconds since beat's last tick came; None where none has ever come. Raises redis.RedisError."""
    last = cast("bytes | None", redis.worker().get(redis.key("beat")))
    return None if last is None else max(0, _now() - int(last))


def _report_late_beat() -> None:
    late = since_beat()
    if late is None:
        heard_from_beat()  # a new deployment: from here on it is expected
    elif late > LATE and stream.hold("late", 60_000):
        counters.count(counters.TICK_LATE)
        logger.warning(
            "No tick of beat's for %d seconds: work that is due waits for the next drain to find it. "
            "Is beat running, with events.tick in its schedule?",
            late,
        )


def _now() -> int:
    # By the clock of Redis, which all processes share.
    return redis.worker().time()[0]
