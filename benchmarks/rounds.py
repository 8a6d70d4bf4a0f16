"""Rounds of two things in turn, so that what the machine does meanwhile falls on both."""

import json
import sys
from collections.abc import Callable, Sequence


def alternate(
    ours: Callable[[], float], rival: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """The figures of both, a round each in turn; who begins changes."""
    figures: tuple[list[float], list[float]] = ([], [])
    both = (ours, rival)
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            figures[which].append(both[which]())
            sys.stderr.write(".")
            sys.stderr.flush()
    return figures


def tell(ours: Sequence[float], rival: Sequence[float]) -> None:
    """What `./dev bench` reads: one line, the figures of each round."""
    sys.stdout.write(json.dumps({"ours": list(ours), "rival": list(rival)}) + "\n")
