"""An examination of the deployment: all facts, in the order in which a person mends the faults."""

from collections import Counter
from collections.abc import Iterable, Iterator

from events_app.shared.console.terminal import counted
from events_app.shared.facts import ANSWERS, Depth, Level, Reading, gather

#: The first subjects: without a valid configuration nothing else works.
ORDER = ("Settings", "Configuration", "Versions", "Redis", "Database", "Clocks", "Broker", "Workers")

#: Seconds for each source of facts, so that a frozen server holds the examination up only once.
SECONDS = 20.0


def examine() -> Iterator[Reading]:
    """The readings of all facts, subject by subject."""
    return gather(Depth.EXAMINATION, seconds=SECONDS, order=ORDER)


def has_line(reading: Reading) -> bool:
    """Whether people read it. That a server answers is clear from the facts about the server."""
    return bool(reading.text) and not (reading.fact == ANSWERS and reading.level == Level.OK)


def word_of(reading: Reading) -> str:
    """The word before a line."""
    return "unknown" if reading.value is None and reading.level == Level.OK else reading.level.word


def summarize(readings: Iterable[Reading]) -> str:
    """The number of errors, of warnings and of advice, in a sentence."""
    counts = Counter(reading.level for reading in readings if has_line(reading))
    bad = [counted(counts[level], level.word) for level in (Level.ERROR, Level.WARNING) if counts[level]]
    advice = f" Advice: {counts[Level.ADVICE]}." if counts[Level.ADVICE] else ""
    faults = " and ".join(bad).capitalize() or "No error and no warning"
    return f"{faults} in {counts.total()} lines.{advice}"
