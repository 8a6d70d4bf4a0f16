"""The newest word about a suppression decides, in any order of arrival."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from sending_app.models import Suppression
from sending_app.suppression.record import Word, record_words

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = [
    pytest.mark.django_db(databases=["default", "postgres"]),
    pytest.mark.parametrize("database", ["default", "postgres"]),
]


def word(minutes: int, active: bool, reason: str = "unsubscribed", address: str = "ann@example.com") -> Word:
    return Word(
        address=address,
        scope="news",
        reason=Suppression.Reason(reason),
        active=active,
        at=BEGIN + timedelta(minutes=minutes),
        source=Suppression.Source.EVENT,
        event_id=f"event-{minutes}",
    )


@pytest.mark.parametrize("order", [*permutations([(1, True), (2, False), (3, True), (4, False)])])
def test_the_newest_word_decides_in_any_order(order: list[tuple[int, bool]], database: str) -> None:
    for minutes, active in order:
        record_words([word(minutes, active)], database)
    row = Suppression.objects.using(database).get()
    assert (row.active, row.decided_at, row.event_id) == (False, BEGIN + timedelta(minutes=4), "event-4")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_words_of_one_time_the_suppression_wins(first: bool, together: bool, database: str) -> None:
    words = [word(1, first), word(1, not first)]
    for group in [words] if together else [[word] for word in words]:
        record_words(group, database)
    assert Suppression.objects.using(database).get().active


def test_a_suppression_begins_once(database: str) -> None:
    for minutes, active in [(1, True), (2, True), (3, False), (5, True), (6, True)]:
        record_words([word(minutes, active)], database)
    assert Suppression.objects.using(database).get().since == BEGIN + timedelta(minutes=5)


def test_reasons_scopes_and_addresses_are_apart(database: str) -> None:
    words = [word(1, True), word(1, True, "bounced"), word(1, True, address="bob@example.com")]
    assert record_words(words, database) == 3
    assert record_words([word(2, False)], database) == 1
    assert set(Suppression.objects.using(database).filter(active=True).values_list("address", "reason")) == {
        ("ann@example.com", "bounced"),
        ("bob@example.com", "unsubscribed"),
    }


def test_without_words_nothing_is_asked(database: str) -> None:
    assert record_words([], database) == 0
