"""Only words that begin a suppression, or change its end, are recorded from files and lists."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.shared.personal_data.pseudonyms import pseudonym
from sending_app.models import Suppression
from sending_app.suppression.beginnings import beginnings, with_rows
from sending_app.suppression.record import Word, record_words

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def word(minutes: int, **columns: Any) -> Word:
    columns = {"address": "ann@example.com", "source": Suppression.Source.EVENT, **columns}
    return Word(reason=Suppression.Reason.SPAM, at=BEGIN + timedelta(minutes=minutes), **columns)


def begin(database: str, *words: Word) -> list[Word]:
    return beginnings(with_rows(words, database))


@pytest.mark.parametrize(
    ("known", "said", "begins"),
    [
        (None, word(5), True),
        (word(1), word(5), False),
        (word(1, active=False), word(5), True),
        (word(5, active=False), word(5), True),
        (word(6, active=False), word(5), False),
        (word(1, until=END), word(5), True),
        (word(1), word(5, until=END), True),
        (word(6, until=END), word(5), False),
        (word(1, address="bob@example.com"), word(5), True),
        (word(1, scope="news"), word(5), True),
    ],
)
def test_a_word_begins_a_suppression_or_changes_its_end(
    known: Word | None, said: Word, begins: bool, database: str
) -> None:
    record_words([known] if known else [], database)
    assert begin(database, said) == ([said] if begins else [])
    # The rule of `record_words` agrees.
    assert record_words(begin(database, said), database) == begins


def test_the_cause_of_a_known_suppression_stays(database: str) -> None:
    record_words([word(1, event_id="e1")], database)
    record_words(begin(database, word(5, source=Suppression.Source.SENDGRID)), database)
    row = Suppression.objects.get()
    assert (row.source, row.event_id) == ("event", "e1")


def test_words_about_an_erased_person_get_the_pseudonym(database: str, anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    hidden = pseudonym("ann@example.com")
    record_words([word(1, address=hidden)], database)
    assert begin(database, word(5)) == []
    (other,) = begin(database, word(5, scope="news"))
    assert other.address == hidden
    (bob,) = begin(database, word(5, address="bob@example.com"))
    assert bob.address == "bob@example.com"


def test_any_number_of_words_costs_one_query(database: str) -> None:
    words = [word(1, address=f"{number}@example.com") for number in range(1000)]
    with CaptureQueriesContext(connections[database]) as queries:
        assert len(begin(database, *words)) == 1000
    assert len(queries) == 1
