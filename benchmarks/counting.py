"""A receiver that counts, for next to nothing: in memory that all processes of a benchmark share."""

import mmap
import os
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig

#: The variable that names the file behind the memory.
VARIABLE = "BENCH_COUNTS"

# A place for each process: nobody waits for anybody, and no count is lost between two.
_PLACES = 4096


class Counting(AppConfig):
    """To be installed where events are received: `benchmarks.counting.Counting`."""

    name = "benchmarks.counting"
    label = "counting"

    def ready(self) -> None:
        from events_app.signals import tracking  # noqa: PLC0415 (the rival has no such app)

        tracking.connect(count)


def count(**_: Any) -> None:
    """One event has been received."""
    _counts()[os.getpid() % _PLACES] += 1


def make(file: Path) -> None:
    """The memory, with nothing counted yet."""
    file.write_bytes(bytes(8 * _PLACES))


def counted() -> int:
    """How many events all processes have received since."""
    return sum(_counts())


@cache
def _counts() -> memoryview:
    with Path(os.environ[VARIABLE]).open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0)).cast("Q")
