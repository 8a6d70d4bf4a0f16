"""An operator suppresses addresses, and ends suppressions."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events_app.shared.database import database_now
from sending_app.exceptions import InvalidAddress
from sending_app.models import Suppression
from sending_app.suppression.manual import removable, remove, storable_address, suppress
from sending_app.suppression.record import Word, record_words

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

Reason = Suppression.Reason


def only_row() -> Suppression:
    return Suppression.objects.get()


def event_word(database: str, at: datetime, **columns: Any) -> None:
    columns = {"address": "ann@example.com", "reason": Reason.BOUNCED, **columns}
    record_words([Word(at=at, source=Suppression.Source.EVENT, event_id="e1", **columns)], database)


def test_an_address_is_kept_as_send_would_write_it(database: str) -> None:
    assert suppress([" Ann@Bücher.Example", '"ann"@xn--bcher-kva.example'], Reason.BLOCKED) == 1
    row = only_row()
    assert row.address == "ann@xn--bcher-kva.example"
    assert (row.reason, row.scope, row.until, row.source, row.active) == (
        *("blocked", "", None, "operator", True),
    )


def test_the_projects_encoder_decides_about_domains(anymail: Callable[..., None]) -> None:
    anymail(IDNA_ENCODER=lambda domain: "of-our-own.example")
    assert storable_address("ann@bücher.example") == "ann@of-our-own.example"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"addresses": ["ann"]}, "Invalid address 'ann'"),
        ({"addresses": [""]}, "Write one address in place of ''"),
        ({"addresses": ["a@example.com, b@example.com"]}, "Write one address in place of 'a@"),
        ({"scope": "group:news"}, "After group: stands the number"),
        ({"scope": "n" * 101}, "up to 100 printable characters"),
        ({"scope": "a\nb"}, "up to 100 printable characters"),
        ({"until": datetime(2001, 1, 1, tzinfo=UTC)}, "must lie in the future"),
    ],
)
def test_an_unusable_value_is_refused_before_any_write(
    database: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        suppress(**{"addresses": ["cy@example.com"], "reason": Reason.BLOCKED, **arguments})
    assert not Suppression.objects.exists()


def test_an_invalid_address_is_an_error_of_sending(database: str) -> None:
    with pytest.raises(InvalidAddress):
        suppress(["ann@"], Reason.BLOCKED)


def test_a_removed_suppression_ends_and_an_older_event_does_not_bring_it_back(database: str) -> None:
    event_word(database, datetime(2026, 1, 2, tzinfo=UTC))
    pk = only_row().pk
    assert list(removable([pk])) == [only_row()]
    assert remove([pk]) == {"removed": 1}
    assert not only_row().active
    event_word(database, datetime(2026, 1, 3, tzinfo=UTC))
    row = only_row()
    assert (row.active, row.source, row.event_id) == (False, "operator", "")
    assert not removable([pk]).exists()
    assert remove([pk]) == {"removed": 0}


def test_a_newer_event_begins_a_removed_suppression_again(database: str) -> None:
    event_word(database, datetime(2026, 1, 2, tzinfo=UTC))
    remove([only_row().pk])
    event_word(database, database_now(database) + timedelta(minutes=1))
    assert only_row().active


@pytest.mark.parametrize("begins", [True, False])
def test_the_word_of_the_operator_counts_although_sendgrids_clock_is_ahead(
    database: str, begins: bool
) -> None:
    event_word(database, database_now(database) + timedelta(minutes=5), active=not begins)
    if begins:
        suppress(["ann@example.com"], Reason.BOUNCED)
    else:
        remove([only_row().pk])
    assert only_row().active == begins


def test_a_suppression_past_its_end_is_not_removable_and_begins_again(database: str) -> None:
    start = database_now(database) - timedelta(days=2)
    event_word(database, start, until=start + timedelta(days=1))
    assert not removable([only_row().pk]).exists()
    until = database_now(database) + timedelta(days=1)
    assert suppress(["ann@example.com"], Reason.BOUNCED, until=until) == 1
    assert removable([only_row().pk]).exists()
    assert only_row().until == until
