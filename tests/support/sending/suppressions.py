"""Suppressions for a test to begin with."""

from datetime import UTC, datetime
from typing import Any

from sending_app import outbox
from sending_app.models import Suppression
from sending_app.suppression.record import Word, record_words

SINCE = datetime(2026, 7, 14, 12, tzinfo=UTC)


def suppress(address: str, reason: str = "bounced", scope: str = "", **fields: Any) -> None:
    """Suppress an address, or with `active=False` end a suppression."""
    word = Word(
        address=address,
        scope=scope,
        reason=Suppression.Reason(reason),
        source=Suppression.Source.OPERATOR,
        **{"at": SINCE, **fields},
    )
    record_words([word], outbox.using())
