"""When SendGrid is to send what it is given now: the caller may have put a time on it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sending_app.mail import Common, Envelope

#: How long before its time SendGrid takes a mail (Mail Send Errors).
FURTHEST = timedelta(hours=72)


def sending_time(common: Common, envelopes: Sequence[Envelope]) -> datetime | None:
    """The latest time any of these is to be sent at; None where there is none, or none that can be read."""
    # A personalization may have a time of its own (Mail Send API).
    times = [common.body.get("send_at"), common.extra.get("send_at")]
    times += [envelope.given.get("send_at") for envelope in envelopes if envelope.given]
    seconds = [time for time in times if isinstance(time, int) and not isinstance(time, bool)]
    try:
        return datetime.fromtimestamp(max(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
