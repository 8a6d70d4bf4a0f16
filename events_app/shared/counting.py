"""Counts occurrences and durations, in one hash of Redis for all processes.

Best effort: a lost count loses no event.
"""

import json
import os
import threading
import time
from bisect import bisect_left
from collections import Counter as Numbers
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import TypeAlias

from django.core.exceptions import ImproperlyConfigured
from redis import RedisError

from events_app.shared import redis
from events_app.shared.eager import is_eager
from events_app.shared.facts import FactKind, declare

# Adds numbers to fields: the arguments are fields, each followed by a number. If Redis refuses a field, such
# as one with a text of another program, it counts the others, and the webhook's circuit stays closed.
_ADD = """
for i = 1, #ARGV, 2 do redis.pcall('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
"""

#: The key of the hash, beside the stream.
KEY = "counters"

#: In place of a bound, in the field of a histogram with the sum of all observations, in microseconds.
SUM = "sum"


#: Seconds between two flushes of a thread. A flush is a write, and with appendfsync always Redis waits for
#: the disk at each write: 24 threads that flushed every second took a third of the speed of sending mail.
INTERVAL = 5

#: In place of the value of a label: all values.
ALL = "*"


class Counter:
    """A number of occurrences."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = (), ordinary: str = "") -> None:
        """Declare the counter and its fact, `name` with `_total`. A label must have few values.

        The status commands show no ordinary counts: those with `ordinary` as the value of the last label, or
        all if `ordinary` is `ALL`.
        """
        self.name, self.meaning, self._ordinary = name, meaning, ordinary
        self.fact = declare(f"{name}_total", meaning, FactKind.COUNTER, labels)
        counters[name] = self

    def is_ordinary(self, labels: Sequence[str]) -> bool:
        return self._ordinary == ALL or self._ordinary in labels[-1:]

    def field(self, *labels: str) -> str:
        """The counter's field in the hash."""
        return _field(self.name, labels)


class Histogram:
    """A distribution of durations."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        """Declare the histogram and its fact. `bounds` are the upper bounds of its buckets, in seconds."""
        self.fact = declare(name, meaning, FactKind.HISTOGRAM, labels)
        self.bounds = (*bounds, inf)
        histograms[name] = self

    def fields(self, labels: tuple[str, ...], observations: Sequence[float]) -> Iterator[tuple[str, int]]:
        """The fields of the hash for the observations, with the numbers to add."""
        buckets = Numbers(bisect_left(self.bounds, seconds) for seconds in observations)
        for index, number in buckets.items():
            yield _field(self.fact.name, (*labels, str(self.bounds[index]))), number
        # Below zero if the clocks of two servers disagree.
        yield (
            _field(self.fact.name, (*labels, SUM)),
            int(sum(max(seconds, 0) for seconds in observations) * 1_000_000),
        )


#: The declared counters and histograms, by name.
counters: dict[str, Counter] = {}
histograms: dict[str, Histogram] = {}


@lru_cache(maxsize=1024)
def _field(name: str, labels: tuple[str, ...]) -> str:
    return f"{name}{json.dumps(labels)}" if labels else name


def parse_field(field: str) -> tuple[str, tuple[str, ...]]:
    """The name of the counter or histogram, and the values of the labels."""
    name, bracket, labels = field.partition("[")
    try:
        values = json.loads(bracket + labels) if bracket else []
    except (ValueError, RecursionError):  # of another program
        return field, ()
    return (name, tuple(values)) if all(isinstance(value, str) for value in values) else (field, ())


_Labels: TypeAlias = tuple[str, ...]


class _Batch:
    """Counts and observations on their way to Redis."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.counts: dict[tuple[Counter, _Labels], int] = {}
        self.observations: defaultdict[tuple[Histogram, _Labels], list[float]] = defaultdict(list)

    def send(self) -> None:
        words: list[str | int] = []
        for (counter, labels), by in self.counts.items():
            words += (counter.field(*labels), by)
        for (histogram, labels), observations in self.observations.items():
            for field, by in histogram.fields(labels, observations):
                words += (field, by)
        if not words or is_eager() or redis.is_circuit_open():
            return
        try:
            redis.script(_ADD)(keys=[redis.key(KEY)], args=words, client=redis.for_webhooks())
        except (RedisError, ImproperlyConfigured):
            redis.open_circuit()


class _Here(threading.local):
    #: The batch of this thread; None outside `gather_counts`.
    batch: _Batch | None = None


_here = _Here()


def _forget() -> None:
    _here.batch = None


# A receiver may fork: the parent sends its batch, and the child counts for itself.
os.register_at_fork(after_in_child=_forget)


def count(counter: Counter, *labels: str, by: int = 1) -> None:
    """Add `by` to the counter; not in a test run."""
    if not by:
        return
    batch = _here.batch or _Batch()
    key = (counter, labels)
    batch.counts[key] = batch.counts.get(key, 0) + by
    if batch is not _here.batch:
        batch.send()


def observe(histogram: Histogram, seconds: Sequence[float], *labels: str) -> None:
    """Add durations to the histogram; not in a test run."""
    if not seconds:
        return
    batch = _here.batch or _Batch()
    batch.observations[histogram, labels] += seconds
    if batch is not _here.batch:
        batch.send()


@contextmanager
def gather_counts() -> Iterator[None]:
    """Inside, counts of this thread go to Redis together: with `flush`, and at the end."""
    outer, _here.batch = _here.batch, _Batch()
    try:
        yield
    finally:
        batch, _here.batch = _here.batch, outer
        if batch:
            batch.send()


def flush() -> None:
    """Send the gathered counts to Redis, in one round trip."""
    if batch := _here.batch:
        _here.batch = _Batch()
        batch.send()


def flush_when_due() -> None:
    """Send the gathered counts if the last ones were sent `INTERVAL` ago."""
    if (batch := _here.batch) and time.monotonic() > batch.begun + INTERVAL:
        flush()
