"""What SendGrid's spam check says of a mail."""

import math
import re

# "Content analysis details:   (0.9 points, 5.0 required)", as SpamAssassin writes it.
_DETAILS = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?) points?, \s*(-?\d{1,6}(?:\.\d{1,6})?) required\)")

#: Characters of a report that are looked at; the details come before what was found.
_LONGEST = 100_000


def score(text: str | None) -> float | None:
    """The number in `spam_score`; None where there is none, or none that is finite."""
    try:
        found = float((text or "")[:50])
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def detected(report: str | None, flag: str | None = None, status: str | None = None) -> bool | None:
    """Whether it is spam: by the points in `spam_report`, else by X-Spam-Flag and X-Spam-Status.

    None where none of them says. Anybody may write these headers, so SendGrid's report comes first.
    """
    found = _DETAILS.search((report or "")[:_LONGEST])
    if found:
        return float(found[1]) >= float(found[2])
    for header in (flag, status):
        word = re.match(r"\s*(yes|no)\b", header or "", re.IGNORECASE)
        if word:
            return word[1].lower() == "yes"
    return None
