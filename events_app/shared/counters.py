"""The counters and histograms of the pipeline, and the numbers of all declared ones."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import cast

from events_app.shared import redis
from events_app.shared.counting import ALL, KEY, SUM, Counter, Histogram, counters, histograms, parse_field
from events_app.shared.facts import Observations, Reading


class Reason(StrEnum):
    """Why a webhook answered a post as it did."""

    ACCEPTED = "accepted"
    #: Basic auth, signature or token: missing, wrong or too old.
    CREDENTIALS = "credentials"
    #: A setting of this server is missing or unusable.
    SETTINGS = "settings"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    #: The connection broke before the end of the body.
    CONNECTION = "connection"
    #: Redis is away.
    REDIS = "redis"
    #: Redis is nearly full, or the backlog is at its limit.
    FULL = "full"
    DATABASE = "database"
    STORAGE = "storage"
    #: The issuer of OAuth tokens gives no keys.
    ISSUER = "issuer"
    #: The site answered in the webhook's place.
    SITE = "site"
    #: A fault of the program.
    FAULT = "fault"


EVENTS_RECEIVED = Counter("events_received", "Events in the posts answered with 200", ("webhook",), ALL)
WEBHOOK_POSTS = Counter(
    "webhook_posts",
    "Posts by webhook, answer and reason",
    ("webhook", "status", "reason"),
    Reason.ACCEPTED,
)
EVENTS_STORED = Counter("events_stored", "Events stored, by type", ("type",), ALL)
EVENTS_DUPLICATE = Counter("events_duplicate", "Events already in the database")
EVENTS_ID_CHANGED = Counter(
    "events_id_changed", "New events equal to an earlier event but for SendGrid's id, of a sample"
)
EVENTS_ID_CHANGED_OPENED = Counter(
    "events_id_changed_opened", "Opens and clicks equal to an earlier one but for the id"
)
EVENTS_ID_REUSED = Counter(
    "events_id_reused", "Duplicates by id that differ from the stored event, of a sample"
)
EVENTS_WITHOUT_RECEIVER = Counter("events_without_receiver", "Events without a receiver")
EVENTS_RETRIED = Counter("events_retried", "Events whose failed receivers were called again")
EVENTS_RELEASED = Counter("events_released", "Events left to another worker when the time was up")
EVENTS_RECOVERED = Counter("events_recovered", "Events recovered one by one, mostly because a worker died")
EVENTS_RETRIED_BY_OPERATOR = Counter("events_retried_by_operator", "Events an operator retried")
EVENTS_REPLAYED = Counter("events_replayed", "Events an operator replayed")
EVENTS_PRUNED = Counter("events_pruned", "Events removed at the end of their retention")
DEAD_LETTERS = Counter("dead_letters", "Events that became dead letters, by reason", ("reason",))
DEAD_LETTERS_PRUNED = Counter("dead_letters_pruned", "Dead letters among the removed events")
INBOUND_DUPLICATE = Counter("inbound_duplicate", "Duplicate posts of an inbound mail")
INBOUND_PRUNED = Counter("inbound_pruned", "Inbound mails removed at the end of their retention")
INBOUND_DEAD_LETTERS_PRUNED = Counter(
    "inbound_dead_letters_pruned", "Dead letters among the removed inbound mails"
)
INBOUND_FILES_SWEPT = Counter("inbound_files_swept", "Removed files of refused posts")
RECEIVER_CALLS = Counter(
    "receiver_calls",
    "Calls of receivers, by outcome",
    ("receiver", "outcome"),
    "ok",
)
RECEIVER_SECONDS = Histogram(
    "receiver_seconds", "Seconds of a receiver's call", (0.001, 0.01, 0.1, 0.5, 1, 5, 30), ("receiver",)
)
DELIVERY_SECONDS = Histogram(
    "delivery_seconds",
    "Seconds from the post to the end of the first attempt of all receivers",
    (0.1, 0.5, 1, 5, 30, 300, 3600),
    ("kind",),
)
WAKE_UPS_FAILED = Counter("wake_ups_failed", "Failed wake-ups of a worker")
TICKS_LATE = Counter("ticks_late", "Times that beat sent no tick for too long")


def _numbers() -> dict[str, int]:
    """The numbers of all fields of the hash, without values of other programs. Raises redis.RedisError."""
    found = cast("dict[bytes, bytes]", redis.for_workers().hgetall(redis.key(KEY)))
    numbers = {}
    for field, number in sorted(found.items()):
        with suppress(ValueError):
            numbers[field.decode()] = int(number)
    return numbers


def read_counters() -> dict[str, int]:
    """The exceptional counts: by name and the values of the labels, with spaces between.

    Raises redis.RedisError.
    """
    exceptional = {}
    for field, number in _numbers().items():
        name, labels = parse_field(field)
        counter = counters.get(name)
        if name not in histograms and not (counter and counter.is_ordinary(labels)):
            exceptional[" ".join((name, *labels))] = number
    return exceptional


def meaning(name: str) -> str:
    """The meaning of a key of `read_counters`; empty for a counter of another version."""
    counter = counters.get(name.partition(" ")[0])
    return counter.meaning if counter else ""


def read_all() -> Iterator[Reading]:
    """Readings of all counters and histograms. A counter without labels may be zero.

    Raises redis.RedisError.
    """
    buckets: defaultdict[tuple[Histogram, tuple[str, ...]], dict[str, int]] = defaultdict(dict)
    numbers = {parse_field(field): number for field, number in _numbers().items()}
    for counter in counters.values():
        if not counter.fact.labels:
            numbers.setdefault((counter.name, ()), 0)
    for (name, labels), number in numbers.items():
        # The labels may be those of another version.
        if (known := counters.get(name)) and len(labels) == len(known.fact.labels):
            yield known.fact.read(number, *labels)
        elif (histogram := histograms.get(name)) and len(labels) == len(histogram.fact.labels) + 1:
            buckets[histogram, labels[:-1]][labels[-1]] = number
    for (histogram, labels), counts in buckets.items():
        up_to, total = {}, 0
        for bound in histogram.bounds:
            total += counts.get(str(bound), 0)
            up_to[bound] = total
        yield histogram.fact.read(Observations(up_to, counts.get(SUM, 0) / 1_000_000), *labels)
