"""Times on the pages of operators."""

from datetime import UTC, datetime

from django.utils.html import format_html


def utc_time(at: datetime | None) -> str:
    """The time in UTC with seconds, as HTML; a dash without a time."""
    if at is None:
        return "–"
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # a mail's Date may be at the end of time
        return str(at)
    return format_html(
        '<time datetime="{}">{} UTC</time>',
        at.isoformat(),
        at.isoformat(" ", "seconds").removesuffix("+00:00"),
    )
