"""Suppressed addresses, as events leave them."""

from datetime import UTC, datetime
from typing import Any

from sending_app.models import Suppression
from sending_app.suppression.record import Word, record_words

#: The start of suppressions.
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def suppressed(address: str = "ann@example.com", **columns: Any) -> int:
    """A row with these columns, by default of a bounce; its primary key."""
    values = {
        "address": address,
        "scope": "",
        "reason": Suppression.Reason.BOUNCED,
        "at": BEGIN,
        "source": Suppression.Source.EVENT,
        "event_id": "event-1",
        **columns,
    }
    record_words([Word(**values)], Suppression.objects.db)
    return Suppression.objects.get(**{name: values[name] for name in ("address", "scope", "reason")}).pk
