"""The facts about the past: the counters and histograms of all apps."""

from collections.abc import Iterator

from events_app.shared import counters
from events_app.shared.facts import REDIS, Depth, Reading, source


@source(Depth.FIGURES, REDIS)
def read_counted() -> Iterator[Reading]:
    yield from counters.read_all()
