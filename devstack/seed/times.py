"""The times of mails: more by day than by night, and fewer at the weekend."""

import random
from datetime import UTC, datetime, timedelta

#: Share of the mails by hour of the day, in UTC.
_BY_HOUR = (1, 1, 1, 1, 1, 2, 4, 8, 12, 14, 13, 11, 10, 11, 12, 12, 11, 9, 8, 8, 7, 5, 3, 2)

#: Share of the mails by day of the week, from Monday.
_BY_WEEKDAY = (11, 12, 12, 11, 10, 6, 5)


def spread(rng: random.Random, count: int, until: datetime, days: int) -> list[float]:
    """`count` moments of the days before `until`, in order, as Unix time."""
    midnight = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = [
        midnight + timedelta(days=day, hours=hour)
        for day in range(-days, 1)
        for hour in range(24)
        if midnight + timedelta(days=day, hours=hour) < until
    ]
    weights = [_BY_HOUR[hour.hour] * _BY_WEEKDAY[hour.weekday()] for hour in hours]
    # The last hour is not over.
    end = until.timestamp()
    starts = [hour.timestamp() for hour in rng.choices(hours, weights, k=count)]
    return sorted(start + min(3600, end - start) * rng.random() for start in starts)
