"""A receiver that notes when it is called: a line for each event, in a file of all processes."""

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig

#: The variable that names the file.
VARIABLE = "BENCH_NOTES"


class Noting(AppConfig):
    """To be installed where events are received: `benchmarks.noting.Noting`."""

    name = "benchmarks.noting"
    label = "noting"

    def ready(self) -> None:
        from events_app.signals import tracking  # noqa: PLC0415 (as Django's apps do it)

        tracking.connect(note)


def note(event: Any, **_: Any) -> None:
    # The clock is one for all processes. A line is appended whole, whoever else appends.
    os.write(_file(), f"{event.event_id} {time.monotonic()!r}\n".encode())


def noted() -> dict[str, float]:
    """When each event was received, by its id: seconds of the monotonic clock."""
    with Path(os.environ[VARIABLE]).open() as lines:
        return {event_id: float(at) for event_id, at in map(str.split, lines)}


@cache
def _file() -> int:
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
