"""Record words about suppressions: that a suppression begins, or that it has ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from sending_app import sql
from sending_app.models import Suppression

#: The columns that name a suppression: address, scope, reason.
Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word about a suppression. The newest word decides, in any order of arrival."""

    #: In the form of `events_app.shared.addresses.comparable`, or a pseudonym.
    address: str
    #: As `Suppression.scope`.
    scope: str = ""
    reason: Suppression.Reason
    #: False: the suppression has ended.
    active: bool = True
    #: When it was said. Of an event: SendGrid's time.
    at: datetime
    until: datetime | None = None
    source: Suppression.Source
    event_id: str = ""

    @property
    def key(self) -> Key:
        return self.address, self.scope, self.reason.value


def record_words(words: Iterable[Word], database: str) -> int:
    """Record the words, and return the number of rows written. An older word changes nothing.

    Of two words of one time, the suppressing word wins.
    """
    newest: dict[Key, Word] = {}
    for word in words:
        known = newest.get(word.key)
        if known is None or (word.at, word.active) > (known.at, known.active):
            newest[word.key] = word
    if not newest:
        return 0
    # Sorted, like every multi-row write: workers that lock rows in different orders deadlock.
    return sql.decide_suppressions(
        database,
        [
            {
                "address": word.address,
                "scope": word.scope,
                "reason": word.reason.value,
                "active": word.active,
                "since": word.at,
                "decided_at": word.at,
                "until": word.until,
                "source": word.source.value,
                "event_id": word.event_id[:255],
            }
            for _, word in sorted(newest.items())
        ],
    )
