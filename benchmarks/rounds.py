"""Measures two sides in alternating rounds, so that other load on the machine hits both."""

import json
import sys
from collections.abc import Callable, Sequence


def alternate(
    ours: Callable[[], float], rival: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the figures of both sides. They take turns to begin."""
    figures: tuple[list[float], list[float]] = ([], [])
    both = (ours, rival)
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            figures[which].append(both[which]())
            sys.stderr.write(".")
            sys.stderr.flush()
    return figures


def report(ours: Sequence[float], rival: Sequence[float]) -> None:
    """Print the line that `./dev bench` reads: the figures of each round."""
    sys.stdout.write(json.dumps({"ours": list(ours), "rival": list(rival)}) + "\n")
