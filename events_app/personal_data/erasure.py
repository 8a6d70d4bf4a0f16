"""Erases a person in all registered places, or counts what an erasure would change.

An erasure may be broken off at any time, and run again.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db import transaction
from redis import RedisError, ResponseError

from events_app import stream, tasks
from events_app.dispatch import duplicates, leases, results, store
from events_app.dispatch.leases import Lease, events_database
from events_app.models import LEASED, ErasedPerson, PendingDelivery
from events_app.shared import redis
from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.database import database_now
from events_app.shared.eager import is_eager
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, ErasureFailed
from events_app.shared.redis_faults import describe
from events_app.shared.wakeup import wake

__all__ = ["ErasureFailed", "Progress", "count", "erase"]

logger = logging.getLogger(__name__)

#: Seconds between two looks at the stream, while a worker has some of its events.
PAUSE = 0.2


class Progress(NamedTuple):
    """A step of an erasure, or of a count."""

    #: The name of a `registry.Place`, or of a step of the erasure itself.
    place: str
    #: Of this step alone. May be empty.
    counts: Counts
    #: A sentence for the operator.
    note: str = ""


def count(people: Sequence[Person]) -> Iterator[Progress]:
    """Count what an erasure would change. Events that wait in Redis are not counted.

    Raises ErasureFailed and database errors.
    """
    for person in people:
        for place in registry.places:
            for counts in place.count(person):
                yield Progress(place.name, counts)


def erase(people: Sequence[Person], operator: Operator = BY_HAND) -> Iterator[Progress]:
    """Erase these persons. Events of their earlier mails that come later are stored without them.

    Raises ImproperlyConfigured without a key, ErasureFailed, and database errors.
    """
    pseudonyms = [person.pseudonym for person in people]
    using = events_database()
    erased_at = database_now(using)
    with transaction.atomic(using=using, durable=True):
        for pseudonym in pseudonyms:
            ErasedPerson.objects.using(using).update_or_create(
                pseudonym=pseudonym, defaults={"erased_at": erased_at}
            )
    # Without the domain: logs mask addresses.
    names = [pseudonym.partition("@")[0] for pseudonym in pseudonyms]
    for name in names:
        logger.info("The erasure of %s begins (user: %s)", name, operator.user_id)
    # A worker that stores events without knowing of the erasure has them from the stream.
    yield from _store_what_waits()
    for person in people:
        for place in registry.places:
            for counts in place.erase(person):
                yield Progress(place.name, counts)
    yield from _count_in_progress(pseudonyms)
    yield from _clean_redis()
    for name in names:
        logger.info("%s is erased (user: %s)", name, operator.user_id)


def _store_what_waits() -> Iterator[Progress]:
    """Store the events that wait in the stream. Workers call their receivers."""
    if is_eager():
        return
    # Another worker takes the entries of a dead worker after the lease.
    deadline = time.monotonic() + 2 * leases.lease_duration().total_seconds()
    try:
        newest = stream.newest_id()
        while newest and stream.holds_up_to(newest):
            lease = Lease()
            entries, _ = stream.read_entries(tasks.BATCH, leases.lease_duration_ms())
            if entries:
                buffer = results.ResultBuffer(lease)
                buffer.released = [delivery.pk for delivery in store.ingest(entries, lease)]
                buffer.close()
                yield Progress("events in Redis", Counter({"events stored": stream.events_in(entries)}))
            elif time.monotonic() > deadline:
                raise ErasureFailed(
                    "A worker does not finish events that it took from Redis. "
                    "Look at the log of the workers, and run the erasure again."
                )
            else:
                yield Progress("events in Redis", Counter())
                time.sleep(PAUSE)
    except RedisError as error:
        raise ErasureFailed(
            f"Redis does not answer ({describe(error)}). Events that wait there would be stored later. "
            "Run the erasure again when Redis is back."
        ) from error
    if newest:
        wake(tasks.drain)


def _count_in_progress(pseudonyms: Sequence[str]) -> Iterator[Progress]:
    """A receiver that just works on an event of the person may fail, and its traceback has the address."""
    using = events_database()
    working = PendingDelivery.objects.using(using).filter(
        LEASED, due__gt=database_now(using), event__recipient__in=pseudonyms
    )
    if number := working.count():
        yield Progress(
            "pending deliveries",
            Counter({"deliveries in progress": number}),
            "Receivers are working on events of the person. Run the erasure again in some minutes.",
        )


def _clean_redis() -> Iterator[Progress]:
    """Remove digests of the person's events, and ask for a new append-only file without deleted events."""
    if is_eager():
        return
    try:
        duplicates.forget_contents()
        yield Progress("Redis", Counter(), _rewrite_append_only_file())
    except RedisError as error:
        raise ErasureFailed(
            f"Redis does not answer ({describe(error)}). Its append-only file may still have the person's "
            "events. Run the erasure again when Redis is back."
        ) from error


def _rewrite_append_only_file() -> str:
    server = redis.for_workers()
    try:
        if not server.info("persistence").get("aof_enabled"):
            return (
                "Redis keeps no append-only file. Its next snapshot, if it makes any, is without the events."
            )
        server.bgrewriteaof()
    except ResponseError as error:
        return (
            f"Redis refused to rewrite its append-only file ({describe(error)}). "
            "Run BGREWRITEAOF: until then the file may have the person's events."
        )
    return "Redis rewrites its append-only file now, without the person's events."
