"""A receiver that records the time of each call in a file that all processes share."""

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig

#: The environment variable with the path of the file.
VARIABLE = "BENCH_NOTES"


class Noting(AppConfig):
    """Install it in the measured deployment as `benchmarks.noting.Noting`."""

    name = "benchmarks.noting"
    label = "noting"

    def ready(self) -> None:
        from events_app.signals import tracking  # noqa: PLC0415 (as Django's apps do it)

        tracking.connect(note)


def note(event: Any, **_: Any) -> None:
    # All processes share the monotonic clock. One write keeps each line whole.
    os.write(_file(), f"{event.event_id} {time.monotonic()!r}\n".encode())


def noted() -> dict[str, float]:
    """Return, by event id, the time of the receiver's call in seconds of the monotonic clock."""
    with Path(os.environ[VARIABLE]).open() as lines:
        return {event_id: float(at) for event_id, at in map(str.split, lines)}


@cache
def _file() -> int:
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
