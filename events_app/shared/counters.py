"""Counters of failures and exceptional events, in Redis for all processes.

Best effort: a lost count loses no event.
"""

from typing import cast

from django.core.exceptions import ImproperlyConfigured
from redis import RedisError

from events_app.shared import redis
from events_app.shared.eager import is_eager

#: The descriptions of the counters.
MEANINGS: dict[str, str] = {}


def _counter(name: str, description: str) -> str:
    MEANINGS[name] = description
    return name


DUPLICATE = _counter("duplicate", "events already in the database")
ID_CHANGED = _counter("id_changed", "new events equal to an earlier event but for SendGrid's id, of a sample")
ID_CHANGED_OPENED = _counter("id_changed_opened", "opens and clicks equal to an earlier one but for the id")
ID_REUSED = _counter("id_reused", "duplicates by id that differ from the stored event, of a sample")
DEAD_LETTER_ON_ARRIVAL = _counter("dead_letter_on_arrival", "events unreadable, or refused by the database")
MAIL_DUPLICATE = _counter("mail_duplicate", "duplicate posts of an inbound mail")
NO_RECEIVER = _counter("no_receiver", "events without a receiver")
RECEIVER_FAILED = _counter("receiver_failed", "calls of a receiver that raised")
RECEIVER_TIMED_OUT = _counter("receiver_timed_out", "calls of a receiver that exceeded the time limit")
RECEIVER_UNKNOWN = _counter("receiver_unknown", "retries of a receiver unknown to the worker")
RETRIED = _counter("retried", "events whose failed receivers were called again")
RETRIES_EXHAUSTED = _counter("retries_exhausted", "dead letters of events whose receiver failed too often")
RELEASED = _counter("released", "events left to another worker when the time was up")
RECOVERED = _counter("recovered", "events recovered one by one, mostly because a worker died")
WORKER_DIED = _counter("worker_died", "dead letters of events whose workers died too often")
RETRIED_BY_OPERATOR = _counter("retried_by_operator", "events an operator retried")
REPLAYED = _counter("replayed", "events an operator replayed")
PRUNED = _counter("pruned", "events removed at the end of their retention")
PRUNED_DEAD_LETTER = _counter("pruned_dead_letter", "dead letters among the removed events")
MAIL_PRUNED = _counter("mail_pruned", "inbound mails removed at the end of their retention")
MAIL_PRUNED_DEAD_LETTER = _counter("mail_pruned_dead_letter", "dead letters among the removed inbound mails")
FILE_SWEPT = _counter("file_swept", "removed files of refused posts")
WAKE_UP_FAILED = _counter("wake_up_failed", "failed wake-ups of a worker")
TICK_LATE = _counter("tick_late", "times that beat sent no tick for too long")
#: A counter for each status.
REFUSED = _counter("refused_{status}", "posts answered with {status}")


def meaning(name: str) -> str:
    """The description of the counter `name`; empty for a counter of another version."""
    before, _, _ = REFUSED.partition("{")
    if name.startswith(before):
        return MEANINGS[REFUSED].format(status=name.removeprefix(before))
    return MEANINGS.get(name, "")


def count(name: str, by: int = 1) -> None:
    """Add `by` to the counter `name`; not in a test run."""
    if by and not is_eager() and not redis.is_circuit_open():
        try:
            redis.for_webhooks().hincrby(redis.key("counters"), name, by)
        except (RedisError, ImproperlyConfigured):
            redis.open_circuit()


def read_counters() -> dict[str, int]:
    """The counters above zero. Raises redis.RedisError."""
    counts = cast("dict[bytes, bytes]", redis.for_workers().hgetall(redis.key("counters")))
    return {name.decode(): int(number) for name, number in sorted(counts.items())}
