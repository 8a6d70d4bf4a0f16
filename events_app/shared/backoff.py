"""Exponential backoff: how long to wait after failures in a row."""

import random
from datetime import timedelta


def exponential(first: float, failures: int, longest: float) -> float:
    """Seconds to wait: `first` after one failure, twice as many after each further one, up to `longest`."""
    return min(first * 2.0 ** min(failures - 1, 30), longest)


def with_jitter(seconds: float) -> timedelta:
    """A quarter more or less, so that deliveries that failed together do not come back together."""
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311
