"""A receiver that counts events, at almost no cost, in memory that all processes of a benchmark share."""

import mmap
import os
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig

#: The environment variable with the file of the shared memory.
VARIABLE = "BENCH_COUNTS"

# A counter for each process, so that no process waits and no count is lost.
_PLACES = 4096


class Counting(AppConfig):
    """Install it in the measured deployment as `benchmarks.counting.Counting`."""

    name = "benchmarks.counting"
    label = "counting"

    def ready(self) -> None:
        from events_app.signals import tracking  # noqa: PLC0415 (the rival has no such app)

        tracking.connect(count)


def count(**_: Any) -> None:
    """Count one received event."""
    _counts()[os.getpid() % _PLACES] += 1


def make(file: Path) -> None:
    """Create the shared memory with all counters at zero."""
    file.write_bytes(bytes(8 * _PLACES))


def counted() -> int:
    """Return the number of events that all processes have received."""
    return sum(_counts())


@cache
def _counts() -> memoryview:
    with Path(os.environ[VARIABLE]).open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0)).cast("Q")
