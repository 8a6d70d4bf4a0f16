"""Counts of everything that did not go the plain way, by reason, kept in Redis for all processes.

Best effort: a lost count is not a lost event.
"""

from typing import cast

from django.core.exceptions import ImproperlyConfigured
from redis import RedisError

from events_app.shared import redis

DUPLICATE = "duplicate"
DEAD_LETTER_ON_ARRIVAL = "dead_letter_on_arrival"
MAIL_DUPLICATE = "mail_duplicate"
NO_RECEIVER = "no_receiver"
RECEIVER_FAILED = "receiver_failed"
RECEIVER_TIMED_OUT = "receiver_timed_out"
RECEIVER_UNKNOWN = "receiver_unknown"
RETRIED = "retried"
RETRIES_EXHAUSTED = "retries_exhausted"
RELEASED = "released"
RECOVERED = "recovered"
WORKER_DIED = "worker_died"
RETRIED_BY_OPERATOR = "retried_by_operator"
REPLAYED = "replayed"
PRUNED = "pruned"
PRUNED_DEAD_LETTER = "pruned_dead_letter"
MAIL_PRUNED = "mail_pruned"
MAIL_PRUNED_DEAD_LETTER = "mail_pruned_dead_letter"
FILE_SWEPT = "file_swept"
WAKE_UP_FAILED = "wake_up_failed"
TICK_LATE = "tick_late"
#: One counter for each status.
REFUSED = "refused_{status}"

#: What each one counts, for whoever reads them.
MEANINGS = {
    DUPLICATE: "events that were in the database already",
    DEAD_LETTER_ON_ARRIVAL: "events stored as dead letters: unreadable, or refused by the database",
    MAIL_DUPLICATE: "duplicate posts of an inbound mail",
    NO_RECEIVER: "events that met no receiver",
    RECEIVER_FAILED: "calls of a receiver that raised",
    RECEIVER_TIMED_OUT: "calls of a receiver that were cut off for their time",
    RECEIVER_UNKNOWN: "retries of a receiver that the worker did not know",
    RETRIED: "events whose failed receivers were called again",
    RETRIES_EXHAUSTED: "events that became dead letters because a receiver failed too often",
    RELEASED: "events left to another worker for lack of time",
    RECOVERED: "events taken up alone, mostly because their worker had died",
    WORKER_DIED: "events that became dead letters because their workers died too often",
    RETRIED_BY_OPERATOR: "events an operator retried",
    REPLAYED: "events an operator replayed",
    PRUNED: "events removed at the end of their retention",
    PRUNED_DEAD_LETTER: "those among them that were dead letters",
    MAIL_PRUNED: "inbound mails removed at the end of their retention",
    MAIL_PRUNED_DEAD_LETTER: "those of these mails that were dead letters",
    FILE_SWEPT: "files of posts that were not taken, removed",
    WAKE_UP_FAILED: "wake-ups of a worker that failed",
    TICK_LATE: "times that no tick of beat's came for too long",
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
    if by and not redis.is_circuit_open():
        try:
            redis.for_webhooks().hincrby(redis.key("counters"), what, by)
        except (RedisError, ImproperlyConfigured):
            redis.open_circuit()


def read() -> dict[str, int]:
    """All counters that ever counted. Raises redis.RedisError."""
    found = cast("dict[bytes, bytes]", redis.for_workers().hgetall(redis.key("counters")))
    return {name.decode(): int(value) for name, value in sorted(found.items())}
