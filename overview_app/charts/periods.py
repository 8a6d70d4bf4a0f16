"""The periods of time that charts show."""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple


class Period(NamedTuple):
    """A period up to now, in steps of an hour or a day (UTC)."""

    name: str
    words: str
    step: Literal["hour", "day"]
    steps: int

    def starts(self, now: datetime) -> list[datetime]:
        """The start of each step. The last step is not over."""
        length = timedelta(hours=1) if self.step == "hour" else timedelta(days=1)
        midnight = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        last = midnight if self.step == "hour" else midnight.replace(hour=0)
        return [last - number * length for number in reversed(range(self.steps))]

    def label(self, start: datetime) -> str:
        """The start of a step for people."""
        return f"{start:%H:%M}" if self.step == "hour" else f"{start:%d %b}"

    def long_label(self, start: datetime) -> str:
        """As `label`, with the day of an hour."""
        return f"{start:%d %b %H:%M}" if self.step == "hour" else f"{start:%d %b}"


#: The first is the default.
PERIODS = (
    Period("24h", "24 hours", "hour", 24),
    Period("48h", "48 hours", "hour", 48),
    Period("30d", "30 days", "day", 30),
)


def period_named(name: str | None) -> Period:
    """The period with the name, or the default."""
    return next((period for period in PERIODS if period.name == name), PERIODS[0])
