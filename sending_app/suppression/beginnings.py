"""Words from files and from SendGrid's lists: which of them begin a suppression, beside the known rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from sending_app.models import Suppression
from sending_app.suppression.record import Word


def with_rows(words: Sequence[Word], database: str) -> list[tuple[Word, Suppression | None]]:
    """Each word with its row. One query.

    A word about an erased person gets the pseudonym, if a row has it: no list brings an erased address back.
    """
    pseudonyms = {}
    if PERSONAL_DATA_KEY.get():
        pseudonyms = {word.address: pseudonym(word.address) for word in words}
    addresses = {*(word.address for word in words), *pseudonyms.values()}
    rows = list(Suppression.objects.using(database).filter(address__in=addresses))
    erased = {row.address for row in rows}.intersection(pseudonyms.values())
    by_key = {(row.address, row.scope, row.reason): row for row in rows}
    pairs = []
    for word in words:
        hidden = pseudonyms.get(word.address)
        known = replace(word, address=hidden) if hidden in erased else word
        pairs.append((known, by_key.get(known.key)))
    return pairs


def beginnings(pairs: Iterable[tuple[Word, Suppression | None]]) -> list[Word]:
    """The words that begin a suppression, or change its end.

    Other words would only replace the source and the event of a row, which tell an operator the cause.
    """
    return [word for word, row in pairs if row is None or _begins(word, row)]


def _begins(word: Word, row: Suppression) -> bool:
    if row.active:
        return word.at > row.decided_at and word.until != row.until
    return word.at >= row.decided_at
