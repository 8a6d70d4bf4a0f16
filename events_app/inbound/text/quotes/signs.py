"""Signs of a mail program in a line: an address, a date, a time."""

import re

ADDRESS = re.compile(r"[^\s<>@]@[^\s<>@]")
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")

_NUMERIC_DATE = re.compile(r"(?<!\d)\d{1,4}([./-]) ?\d{1,2}\1 ?\d{1,4}(?!\d)")
_TIME = re.compile(r"(?<!\d)\d{1,2}(?:[:.時时点點]| ?h ?|시 ?)\d\d(?!\d)")
_DAY = re.compile(r"(?<!\d)\d{1,2}(?!\d)")


def has_date(text: str) -> bool:
    """Whether the text has a numeric date, or a year and a day."""
    if _NUMERIC_DATE.search(text):
        return True
    return bool(YEAR.search(text) and _DAY.search(_TIME.sub("", YEAR.sub("", text))))


def has_time(text: str) -> bool:
    """Whether the text has a time, such as "10:11", "10.11" or "10 h 11", besides numeric dates."""
    return bool(_TIME.search(_NUMERIC_DATE.sub(" ", text)))
