"""Counts of everything that did not go the plain way, by reason, kept in Redis for all processes.

Best effort: a lost count is not a lost event.
"""

from typing import cast

from django.core.exceptions import ImproperlyConfigured
from redis import RedisError

from events_app import redis

#: Events that were in the database already.
DUPLICATE = "duplicate"
#: Events that were stored `dead`: nothing could be read from them, or the database refused them.
DEAD_ON_ARRIVAL = "dead_on_arrival"
#: Events that met no receiver.
NO_RECEIVER = "no_receiver"
#: Calls of a receiver that raised.
RECEIVER_FAILED = "receiver_failed"
#: Calls of a receiver that took too long and were cut off.
RECEIVER_TIMED_OUT = "receiver_timed_out"
#: Retries of a receiver whose name the worker did not know.
RECEIVER_UNKNOWN = "receiver_unknown"
#: Events whose failed receivers were called again.
RETRIED = "retried"
#: Events given up because a receiver had failed too often.
OUT_OF_TRIES = "out_of_tries"
#: Events that were released for lack of time, to be taken by another worker.
RELEASED = "released"
#: Events whose worker died or overran its lease, and that another one took over.
RECOVERED = "recovered"
#: Events given up after their worker died with them too often.
WORKER_DIED = "worker_died"
#: Events an operator had tried again, or called anew.
RETRIED_BY_HAND, REPLAYED = "retried_by_hand", "replayed"
#: Events removed at the end of their retention, and those among them that were dead.
PRUNED, PRUNED_DEAD = "pruned", "pruned_dead"
#: Bells that could not be rung.
BELL_FAILED = "bell_failed"
#: Times that no tick of beat's had come for too long.
TICK_LATE = "tick_late"
#: Posts a door turned away, by the answer it gave.
REFUSED = "refused_{status}"


def count(what: str, by: int = 1) -> None:
    """Add `by` to the counter `what`."""
    if by and not redis.is_paused():
        try:
            redis.door().hincrby(redis.key("counters"), what, by)
        except (RedisError, ImproperlyConfigured):
            redis.pause()


def read() -> dict[str, int]:
    """All counters that ever counted. Raises redis.RedisError."""
    found = cast("dict[bytes, bytes]", redis.worker().hgetall(redis.key("counters")))
    return {name.decode(): int(value) for name, value in sorted(found.items())}
