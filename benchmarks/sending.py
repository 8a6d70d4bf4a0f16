"""One side of `merge_suppressed`: the time of `send()`, until the outbox has the message."""

import time
from statistics import median

import django

from benchmarks import side
from benchmarks.merging import message

#: Messages of a round. The figure of a round is their median.
MESSAGES = 10


def measure() -> float:
    return median(_milliseconds() for _ in range(MESSAGES))


def _milliseconds() -> float:
    made = message()
    began = time.perf_counter()
    made.send()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    django.setup()
    measure()
    side.answer(measure)
