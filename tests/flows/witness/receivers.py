"""A line in a file for each call: it outlives whatever is killed, and needs no database."""

import os
from pathlib import Path
from typing import Any

from django.dispatch import receiver

from events_app.signals import TrackingEvent, tracking
from ground.process import wait_for

_FOLDER = Path(os.environ["WITNESS_FOLDER"])


@receiver(tracking)
def witness(event: TrackingEvent, **_: Any) -> None:
    line = f"{event.event_id}\n".encode()
    file = os.open(_FOLDER / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)
    # `hold` names the event to stop at: the worker is then in mid drain for sure.
    hold = _FOLDER / "hold"
    if hold.exists() and hold.read_text() == event.event_id:
        wait_for(lambda: not hold.exists(), seconds=150, what="the test lets go")
