"""The problems among the readings, the worst first."""

from collections.abc import Iterable
from typing import NamedTuple

from events_app.shared.admin.states import Tone
from events_app.shared.facts import ANSWERS, Level, Reading
from overview_app.links import probe_url, rows_of, url_of

TONES = {Level.OK: Tone.GOOD, Level.ADVICE: Tone.NOTE, Level.WARNING: Tone.WARN, Level.ERROR: Tone.BAD}


class Problem(NamedTuple):
    """A reading that a person should look at."""

    level: Level
    text: str
    #: What to do.
    advice: str
    #: The rows behind the reading. Empty without a page.
    url: str
    #: The rows in words, such as "mails".
    rows: str
    #: The page that ends the pause of an account. Empty for other problems.
    probe_url: str

    @property
    def word(self) -> str:
        return self.level.word

    @property
    def tone(self) -> Tone:
        return TONES[self.level]


def problems(readings: Iterable[Reading]) -> list[Problem]:
    """The readings above the level OK, the worst first. A server that does not answer explains the others."""
    bad = [reading for reading in readings if reading.text and reading.level > Level.OK]
    bad.sort(key=lambda reading: (-reading.level, reading.fact != ANSWERS))
    return [
        Problem(
            reading.level,
            reading.text,
            reading.advice,
            url_of(reading.page),
            rows_of(reading.page),
            probe_url(reading),
        )
        for reading in bad
    ]
