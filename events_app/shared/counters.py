"""Counters of failures and exceptional events, in Redis for all processes.

Best effort: a lost count loses no event.
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
#: A counter for each status.
REFUSED = "refused_{status}"

#: The descriptions of the counters.
MEANINGS = {
    DUPLICATE: "events already in the database",
    DEAD_LETTER_ON_ARRIVAL: "events stored as dead letters: unreadable, or refused by the database",
    MAIL_DUPLICATE: "duplicate posts of an inbound mail",
    NO_RECEIVER: "events without a receiver",
    RECEIVER_FAILED: "calls of a receiver that raised",
    RECEIVER_TIMED_OUT: "calls of a receiver that exceeded the time limit",
    RECEIVER_UNKNOWN: "retries of a receiver unknown to the worker",
    RETRIED: "events whose failed receivers were called again",
    RETRIES_EXHAUSTED: "events that became dead letters because a receiver failed too often",
    RELEASED: "events left to another worker when the time was up",
    RECOVERED: "events recovered one by one after the end of a lease, mostly because a worker died",
    WORKER_DIED: "events that became dead letters because their workers died too often",
    RETRIED_BY_OPERATOR: "events an operator retried",
    REPLAYED: "events an operator replayed",
    PRUNED: "events removed at the end of their retention",
    PRUNED_DEAD_LETTER: "dead letters among the removed events",
    MAIL_PRUNED: "inbound mails removed at the end of their retention",
    MAIL_PRUNED_DEAD_LETTER: "dead letters among the removed inbound mails",
    FILE_SWEPT: "removed files of refused posts",
    WAKE_UP_FAILED: "failed wake-ups of a worker",
    TICK_LATE: "times that beat sent no tick for too long",
    REFUSED: "posts answered with {status}",
}


def meaning(name: str) -> str:
    """The description of the counter `name`; empty for a counter of another version."""
    before, _, _ = REFUSED.partition("{")
    if name.startswith(before):
        return MEANINGS[REFUSED].format(status=name.removeprefix(before))
    return MEANINGS.get(name, "")


def count(name: str, by: int = 1) -> None:
    """Add `by` to the counter `name`."""
    if by and not redis.is_circuit_open():
        try:
            redis.for_webhooks().hincrby(redis.key("counters"), name, by)
        except (RedisError, ImproperlyConfigured):
            redis.open_circuit()


def read() -> dict[str, int]:
    """The counters above zero. Raises redis.RedisError."""
    counts = cast("dict[bytes, bytes]", redis.for_workers().hgetall(redis.key("counters")))
    return {name.decode(): int(number) for name, number in sorted(counts.items())}
