"""Times as operators write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from django.utils import timezone

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, zone: tzinfo = UTC) -> datetime:
    """The time in UTC of an ISO date or time (in `zone` without an offset), or of an age such as 2h.

    Raises ValueError for other text.
    """
    try:
        if age := _AGE.fullmatch(text.strip()):
            return timezone.now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
