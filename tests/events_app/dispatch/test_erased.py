"""Events of an erased person's earlier mails are stored, and given to receivers, without the person."""

import json
from collections.abc import Callable, Collection, Set
from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from events_app.decode import decode_object, dedupe_key
from events_app.dispatch import erased, store
from events_app.dispatch.leases import Lease
from events_app.models import ErasedPerson, Event
from events_app.normalize import read_event
from events_app.shared import own_events
from events_app.shared.database import DatabaseUnavailable, database_now
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from events_app.signals import TrackingEvent
from tests.support.events.stored_events import stream_entries

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN = Person("ann@example.com")
CLICK: dict[str, Any] = {
    "event": "click",
    "email": "Ann@Example.com",
    "timestamp": 1784030400,
    "sg_event_id": "click-1",
    "anymail_id": "mail-1",
    "ip": "203.0.113.7",
    "useragent": "Mozilla/5.0 (Ann's phone)",
    "url": "https://shop.example/?to=ann%40example.com&token=YW5uQGV4YW1wbGUuY29t",
    "category": ["news", "ann@example.com"],
    "customer": "ANN@example.com",
    "order": 7,
}


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="0123456789abcdef" * 4)


def erase(person: Person, database: str) -> datetime:
    row = ErasedPerson.objects.using(database).create(
        pseudonym=person.pseudonym, erased_at=database_now(database)
    )
    return row.erased_at


def store_events(*events: Any) -> list[TrackingEvent]:
    """Store events; return those that receivers would get."""
    return [delivery.event for delivery in store.store(stream_entries(*events), Lease()).deliveries]


def test_a_later_event_has_the_pseudonym(database: str) -> None:
    erase(ANN, database)
    (event,) = store_events(CLICK)
    row = Event.objects.using(database).get()
    raw = bytes(row.raw)
    assert not ANN.is_in(raw)
    assert not ANN.is_in(json.dumps(event.__dict__, default=str))
    posted = json.loads(raw)
    assert (row.recipient, posted["email"], event.recipient) == (ANN.pseudonym,) * 3
    assert not {"ip", "useragent"} & posted.keys()
    assert event.user_agent is None
    assert posted["category"] == event.tags == ["news", ANN.pseudonym]
    assert event.metadata == {"customer": ANN.pseudonym, "order": 7}
    assert (row.event_id, row.message_id, row.event_type) == ("click-1", "mail-1", "clicked")
    assert row.timestamp is not None
    assert row.timestamp.timestamp() == 1784030400
    assert read_event(raw)[1] == event


def test_a_later_event_of_ours_has_the_pseudonym(database: str) -> None:
    """The person uses the link to unsubscribe of an earlier mail."""
    erase(ANN, database)
    ours = {
        "event": "group_unsubscribe",
        own_events.MARK: own_events.UNSUBSCRIBED,
        "unsubscribe_scope": "news",
    }
    own_events.keep([{**CLICK, **ours, "sg_event_id": str(number)} for number in range(2)])
    assert set(Event.objects.using(database).values_list("recipient", flat=True)) == {ANN.pseudonym}
    assert not any(ANN.is_in(bytes(row.raw)) for row in Event.objects.using(database))


@pytest.mark.parametrize("by", ["event_id", "content"])
def test_a_repeat_of_an_event_is_a_duplicate(database: str, by: str, anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY=by)
    erase(ANN, database)
    store_events(CLICK)
    assert bytes(Event.objects.using(database).get().key) == dedupe_key(
        decode_object(json.dumps(CLICK).encode()), by
    )
    assert store.store(stream_entries(CLICK, CLICK), Lease()).duplicates == 2


def test_events_of_others_stay_as_they_are(database: str) -> None:
    erase(ANN, database)
    other = {**CLICK, "email": "joann@example.com"}
    store_events(other)
    assert json.loads(bytes(Event.objects.using(database).get().raw)) == other


def test_events_of_a_newer_mail_stay_as_they_are(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    erased_at = erase(ANN, database)
    asked: list[Collection[tuple[str, datetime]]] = []

    def newer_mails(pairs: Collection[tuple[str, datetime]]) -> Set[tuple[str, datetime]]:
        asked.append(pairs)
        return {("new", erased_at)}

    monkeypatch.setattr(registry, "newer_mails", newer_mails)
    nameless = {name: value for name, value in CLICK.items() if name != "anymail_id"}
    events = store_events(
        {**CLICK, "sg_event_id": "1", "anymail_id": "new"},
        {**CLICK, "sg_event_id": "2", "anymail_id": "old"},
        {**nameless, "sg_event_id": "3"},
    )
    assert [event.recipient for event in events] == ["Ann@Example.com", ANN.pseudonym, ANN.pseudonym]
    assert asked == [{("new", erased_at), ("old", erased_at)}]


def test_an_error_of_the_app_with_the_mails_leaves_the_events_in_redis(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer_mails(_: object) -> Set[tuple[str, datetime]]:
        raise DatabaseError

    erase(ANN, database)
    monkeypatch.setattr(registry, "newer_mails", newer_mails)
    with pytest.raises(DatabaseUnavailable):
        store_events(CLICK)
    assert not Event.objects.using(database).exists()


def test_while_nobody_is_erased_a_batch_costs_one_query(database: str, anymail: Callable[..., None]) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        assert erased.about_erased({("ann@example.com", "mail-1")}, database) == set()
    assert len(queries) == 1
    anymail(PERSONAL_DATA_KEY="")
    with CaptureQueriesContext(connections[database]) as queries:
        assert erased.about_erased({("ann@example.com", "mail-1")}, database) == set()
    assert not queries


def test_both_spellings_of_a_domain_are_erased(database: str) -> None:
    erase(Person("ann@exämple.com"), database)
    (event,) = store_events({**CLICK, "email": "ann@xn--exmple-cua.com"})
    assert event.recipient == Person("ann@exämple.com").pseudonym


@pytest.mark.parametrize(
    ("setting", "absent", "kept"),
    [("STORE_IP_ADDRESSES", "ip", "useragent"), ("STORE_USER_AGENTS", "useragent", "ip")],
)
def test_a_field_that_is_not_stored_reaches_nobody(
    database: str, anymail: Callable[..., None], setting: str, absent: str, kept: str
) -> None:
    anymail(**{setting: False, "DEDUPE_BY": "content"})
    (event,) = store_events(CLICK)
    row = Event.objects.using(database).get()
    expected = {name: value for name, value in CLICK.items() if name != absent}
    assert json.loads(bytes(row.raw)) == event.esp_event == expected
    assert kept in event.esp_event
    assert (event.user_agent is None) == (absent == "useragent")
    assert store.store(stream_entries(CLICK), Lease()).duplicates == 1


def test_an_unreadable_event_loses_only_the_address() -> None:
    assert erased.without_person(b'{"email": "ann@example.com", "ip": "203', ANN) == (
        b'{"email": "%s", "ip": "203' % ANN.pseudonym.encode()
    )
