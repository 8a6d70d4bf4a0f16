"""Scales: the top of an axis, and words for its numbers."""

from math import ceil, floor, log10

#: Round numbers between 1 and 10.
_ROUND = (1, 1.5, 2, 3, 4, 5, 6, 8)


def top_of(largest: float) -> float:
    """A round number, at least the largest value."""
    if largest <= 1:
        return 1
    power = 10.0 ** floor(log10(largest))
    return next((round_ * power for round_ in _ROUND if round_ * power >= largest), 10 * power)


def short(number: float) -> str:
    """A number of an axis, such as "2k"."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def duration(seconds: float | None) -> str:
    """A duration for people, such as "12 s"."""
    if seconds is None:
        return "none"
    if seconds < 120:
        return f"{ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
