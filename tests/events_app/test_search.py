"""Criteria mean the events an operator means, on either database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from events_app import claims, inbox
from events_app.claims import Claim
from events_app.models import Event, Work, database_now
from events_app.search import Criteria, State, find, missing, state_of, work_of
from tests.events_app.test_inbox import AT, entries, opened

with_database = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

RECEIVED = datetime.fromtimestamp(AT / 1000, UTC)


def store(*events: dict[str, Any]) -> list[int]:
    """Have these stored, with nothing owed; their ids."""
    claim = Claim()
    inbox.store(entries(*events), claim)
    Work.objects.filter(claim=claim.token).delete()
    pks = dict(Event.objects.values_list("event_id", "pk"))
    return [pks[event["sg_event_id"]] for event in events]


def owe(pk: int, **fields: Any) -> Work:
    """Open work for a stored event."""
    using = Event.objects.db
    return Work.objects.create(event_id=pk, **{"due": database_now(using), **fields})


def ids(**criteria: Any) -> list[str]:
    return sorted(find(Criteria(**criteria)).values_list("event_id", flat=True))


# By what an event is


@with_database
def test_nothing_asked_finds_all(database: str) -> None:
    store(opened("A1"), opened("B2"))
    assert ids() == ["A1", "B2"]


@with_database
def test_by_our_id_or_sendgrids(database: str) -> None:
    first, *_ = store(opened("A1"), opened("b2=="), opened("c3"))
    assert ids(ids=(str(first), "b2==")) == ["A1", "b2=="]
    assert ids(ids=("B2==", str(10**17))) == []


@with_database
def test_an_id_of_more_digits_than_ours_is_sendgrids(database: str) -> None:
    number = "9" * 30
    store(opened(number))
    assert ids(ids=(number,)) == [number]


@with_database
def test_by_sendgrids_id_where_the_content_is_the_key(database: str, anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="content")
    store(opened("A1"), opened("B2", ip="203.0.113.9"))
    assert ids(ids=("B2",)) == ["B2"]
    assert missing(["B2", "C3"]) == ["C3"]


@with_database
def test_ids_that_are_missing(database: str) -> None:
    first, _ = store(opened("A1"), opened("B2"))
    assert missing([str(first), "B2", "C3", "0", f"0{first}", str(10**17)]) == ["C3", "0", str(10**17)]
    assert missing([]) == []


@with_database
def test_by_message_and_by_address(database: str) -> None:
    store(opened("A1", anymail_id="our-id"), opened("B2", email="Lena@Example.ORG"))
    assert ids(message_id="our-id") == ["A1"]
    assert ids(message_id="our") == []
    assert ids(address="lENA@example.org") == ["B2"]
    assert ids(address="lena") == []


@with_database
def test_by_type(database: str) -> None:
    store(opened("A1"), opened("B2", event="click"), opened("C3", event="bounce"))
    assert ids(types=("clicked",)) == ["B2"]
    assert ids(types=("clicked", "bounced")) == ["B2", "C3"]


@with_database
def test_by_the_time_it_was_received(database: str) -> None:
    store(opened("A1"), opened("B2"))
    Event.objects.filter(event_id="B2").update(received_at=RECEIVED + timedelta(hours=1))
    assert ids(since=RECEIVED) == ["A1", "B2"]
    assert ids(since=RECEIVED + timedelta(seconds=1)) == ["B2"]
    assert ids(until=RECEIVED + timedelta(hours=1)) == ["A1"]
    assert ids(until=RECEIVED) == []


@with_database
def test_all_that_is_given_must_hold(database: str) -> None:
    first, second = store(opened("A1"), opened("B2", email="lena@example.org"))
    asked = {"ids": (str(first), str(second)), "address": "lena@example.org", "states": ("done",)}
    assert ids(**asked) == ["B2"]
    assert ids(**asked, types=("clicked",)) == []


# By what became of it


@with_database
def test_by_state(database: str) -> None:
    pks = store(*(opened(name) for name in ("dead", "done", "owed", "put off", "replay")))
    owe(pks[0], state="dead")
    owe(pks[2])
    owe(pks[3], failures=1)
    owe(pks[4], replay=True)
    assert ids(states=("dead",)) == ["dead"]
    assert ids(states=("done",)) == ["done"]
    assert ids(states=("owed",)) == ["owed"]
    assert ids(states=("retrying",)) == ["put off", "replay"]
    assert ids(states=("dead", "done")) == ["dead", "done"]
    assert len(ids(states=tuple(State))) == 5


@with_database
def test_each_event_is_in_the_one_state_that_is_said_of_it(database: str) -> None:
    rows = list(product(("owed", "dead"), (0, 1), (False, True), (None, claims.NOBODY, 7), (0, 5)))
    pks = store(*(opened(f"{at:02d}") for at in range(len(rows) + 1)))
    for pk, (state, failures, replay, claim, lapses) in zip(pks, rows, strict=False):
        owe(pk, state=state, failures=failures, replay=replay, claim=claim, lapses=lapses)
    found = {state: find(Criteria(states=(state,))).select_related("work") for state in State}
    assert sum(map(len, found.values())) == len(pks)
    for state, events in found.items():
        assert {state_of(work_of(event)) for event in events} == {state}


@with_database
@pytest.mark.parametrize(
    "name", ["shop.receivers.stop", "a__b", 'quo"ted', "7", "", "%s", "ünïcode", "back\\slash", "$.x[0]"]
)
def test_by_the_receiver_that_failed(database: str, name: str) -> None:
    pks = store(opened("A1"), opened("B2"), opened("C3"), opened("D4"))
    owe(pks[0], failures=1, receivers={"other": "Traceback", name: "Traceback"})
    owe(pks[1], failures=1, receivers={"other": "Traceback"})
    owe(pks[2])
    assert ids(receiver=name) == ["A1"]


@with_database
def test_a_receiver_that_has_not_been_called_has_not_failed(database: str) -> None:
    pks = store(opened("A1"), opened("B2"))
    owe(pks[0], failures=1, receivers={"shop": "", "bank": "Traceback"})
    owe(pks[1], state="dead", receivers={"shop": "null"})
    assert ids(receiver="shop") == ["B2"]
    assert ids(receiver="bank") == ["A1"]
