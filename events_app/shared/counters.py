"""Counts of everything that did not go the plain way, by reason, kept in Redis for all processes.

Best effort: a lost count is not a lost event.
"""

from typing import cast

from django.core.exceptions import ImproperlyConfigured
from redis import RedisError

from events_app.shared import redis

DUPLICATE = "duplicate"
DEAD_ON_ARRIVAL = "dead_on_arrival"
MAIL_REPEATED = "mail_repeated"
NO_RECEIVER = "no_receiver"
RECEIVER_FAILED = "receiver_failed"
RECEIVER_TIMED_OUT = "receiver_timed_out"
RECEIVER_UNKNOWN = "receiver_unknown"
RETRIED = "retried"
OUT_OF_TRIES = "out_of_tries"
RELEASED = "released"
RECOVERED = "recovered"
WORKER_DIED = "worker_died"
RETRIED_BY_HAND = "retried_by_hand"
REPLAYED = "replayed"
PRUNED = "pruned"
PRUNED_DEAD = "pruned_dead"
MAIL_PRUNED = "mail_pruned"
MAIL_PRUNED_DEAD = "mail_pruned_dead"
FILE_SWEPT = "file_swept"
BELL_FAILED = "bell_failed"
TICK_LATE = "tick_late"
#: One counter for each status.
REFUSED = "refused_{status}"

#: What each one counts, for whoever reads them.
MEANINGS = {
    DUPLICATE: "events that were in the database already",
    DEAD_ON_ARRIVAL: "events stored dead: unreadable, or refused by the database",
    MAIL_REPEATED: "posts of an inbound mail that had been posted before",
    NO_RECEIVER: "events that met no receiver",
    RECEIVER_FAILED: "calls of a receiver that raised",
    RECEIVER_TIMED_OUT: "calls of a receiver that were cut off for their time",
    RECEIVER_UNKNOWN: "retries of a receiver that the worker did not know",
    RETRIED: "events whose failed receivers were called again",
    OUT_OF_TRIES: "events given up because a receiver failed too often",
    RELEASED: "events left to another worker for lack of time",
    RECOVERED: "events taken up alone, mostly because their worker had died",
    WORKER_DIED: "events given up because their workers died too often",
    RETRIED_BY_HAND: "events an operator had tried again",
    REPLAYED: "events an operator had called anew",
    PRUNED: "events removed at the end of their retention",
    PRUNED_DEAD: "those among them that were dead",
    MAIL_PRUNED: "inbound mails removed at the end of their retention",
    MAIL_PRUNED_DEAD: "those of these mails that were dead",
    FILE_SWEPT: "files of posts that were not taken, removed",
    BELL_FAILED: "bells for a worker that could not be rung",
    TICK_LATE: "times that beat was not heard of for too long",
    REFUSED: "posts answered with {status}",
}


def meaning(name: str) -> str:
    """What the counter `name` counts; empty where only another version of this knows."""
    before, _, _ = REFUSED.partition("{")
    if name.startswith(before):
        return MEANINGS[REFUSED].format(status=name.removeprefix(before))
    return MEANINGS.get(name, "")


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
