"""Quantiles of seconds that are counted in buckets."""

from collections.abc import Mapping
from math import inf


def quantile(buckets: Mapping[float, int], share: float) -> float | None:
    """The seconds that this share of the counts does not exceed; None without a count.

    `buckets` has the counts by upper bound; infinity is a bound. The seconds inside a bucket are taken as
    evenly spread; above the last finite bound the answer is that bound.
    """
    wanted = share * sum(buckets.values())
    lower, below = 0.0, 0
    for bound, count in sorted(buckets.items()):
        if count and below + count >= wanted:
            return lower if bound == inf else lower + (bound - lower) * (wanted - below) / count
        lower, below = (lower if bound == inf else bound), below + count
    return None


def bound_of(label: str) -> float:
    """The upper bound by its label in the series of latencies: seconds, or a word for more."""
    return float(label) if label.isdecimal() else inf
