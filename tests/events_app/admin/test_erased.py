"""The page that erases a person: it counts first, asks for the address again, and names no address later."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connections
from django.test import Client
from django.urls import reverse

from events_app.admin import erased
from events_app.models import ErasedPerson, Event
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, Place
from sending_app.models import Recipient
from tests.support.events.stored_events import open_event, store_done
from tests.support.operators import audit, page, sign_in
from tests.support.sending.outbox_mails import put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ADDRESS = "ann@example.com"
MODEL = "events_app.erasedperson"


def events_of(person: Person) -> Any:
    return Event.objects.filter(recipient=person.address)


def count_events(person: Person) -> Iterator[Counts]:
    yield Counter(events=events_of(person).count())


def erase_events(person: Person) -> Iterator[Counts]:
    yield Counter(events=events_of(person).update(recipient=person.pseudonym))


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """The registered places: the recipients of events alone."""
    places = [Place("events", count_events, erase_events)]
    monkeypatch.setattr(registry, "places", places)
    return places


@pytest.fixture
def operator(client: Client, anymail: Callable[..., None], places: list[Place]) -> Client:
    """A client that may erase; two events of the person are stored."""
    anymail(PERSONAL_DATA_KEY="a-key-of-personal-data-for-tests-only")
    sign_in(client, "events_app.erase", "events_app.view_erasedperson", name="olga")
    store_done(open_event("A1", email=ADDRESS), open_event("A2", email=ADDRESS), open_event("B1"))
    return client


def post(client: Client, **fields: str) -> str:
    response = client.post(reverse("admin:events_app_erasedperson_erase"), {"address": ADDRESS, **fields})
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_the_page_requires_its_permission(client: Client) -> None:
    sign_in(client, "events_app.view_erasedperson", "events_app.act")
    assert client.get(reverse("admin:events_app_erasedperson_erase")).status_code == 403


def test_the_page_counts_before_anything_is_erased(database: str, operator: Client) -> None:
    form = operator.get(reverse("admin:events_app_erasedperson_erase")).content.decode()
    assert "This page counts first" in form
    shown = post(operator, address=" Ann@Example.com ")
    assert "<td>Events</td><td>2 events</td>" in shown
    assert "Type the address again" in shown
    assert Event.objects.filter(recipient=ADDRESS).count() == 2
    assert not ErasedPerson.objects.exists()


def test_a_confirmed_erasure_names_the_pseudonym_alone(
    database: str, operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = post(operator, confirmed="ANN@example.com")
    assert "The person is erased." in shown
    assert "<td>Events</td><td>2 events</td>" in shown
    pseudonym = Person(ADDRESS).pseudonym
    assert Event.objects.filter(recipient=pseudonym).count() == 2
    assert audit() == [("olga", pseudonym, "Erased. events: 2 events")]
    assert "ann@example" not in caplog.text.lower()
    row = ErasedPerson.objects.get()
    for part in (page(operator, MODEL), page(operator, MODEL, row.pk)):
        assert pseudonym in part
        assert "ann@" not in part
    assert "<td>Events</td><td>nothing</td>" in post(operator)


@pytest.mark.parametrize("confirmed", ["", "bo@example.com", "ann"])
def test_without_the_same_address_nothing_is_erased(database: str, operator: Client, confirmed: str) -> None:
    shown = post(operator, confirmed=confirmed)
    assert "This is another address. Nothing was erased." in shown
    assert "<td>Events</td><td>2 events</td>" in shown
    assert not ErasedPerson.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("address", ["", "ann", "@example.com", "ann@"])
def test_a_text_that_is_no_address_is_not_counted(database: str, operator: Client, address: str) -> None:
    shown = post(operator, address=address)
    assert ("Write a whole address" in shown) or ("This field is required." in shown)
    assert "Would be erased" not in shown


def test_a_count_that_takes_too_long_shows_the_command(
    database: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erased, "COUNT_SECONDS", -1.0)
    shown = post(operator)
    assert "did not end within a page" in shown
    assert "<pre>manage.py erase ADDRESS</pre>" in shown
    assert "Type the address again" not in shown


def test_an_erasure_that_takes_too_long_says_that_it_is_not_finished(
    database: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erased, "ERASE_SECONDS", -1.0)
    shown = post(operator, confirmed=ADDRESS)
    assert "The erasure is not finished." in shown
    assert "<pre>manage.py erase ADDRESS</pre>" in shown
    ((_, _, words),) = audit()
    assert words.startswith("Erasure begun, and broken off.")


def test_a_database_away_is_told(database: str, operator: Client, places: list[Place]) -> None:
    def away(_: Person) -> Iterator[Counts]:
        raise OperationalError("no route")
        yield

    places.append(Place("mails", away, away))
    assert "The database does not answer (OperationalError)." in post(operator)
    shown = post(operator, confirmed=ADDRESS)
    assert "The erasure is not finished." in shown


def test_without_a_key_the_page_names_the_setting(
    database: str, operator: Client, anymail: Callable[..., None]
) -> None:
    anymail(PERSONAL_DATA_KEY="")
    for fields in ({}, {"confirmed": ADDRESS}):
        shown = post(operator, **fields)
        assert "PERSONAL_DATA_KEY" in shown
        assert "is not set" in shown
        assert ".." not in shown.partition("is not set")[2].partition("</p>")[0]
    assert Event.objects.filter(recipient=ADDRESS).count() == 2


def test_an_erasure_commits_its_slices_under_atomic_requests(database: str, operator: Client) -> None:
    alias = connections["default"]
    alias.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        seen: list[bool] = []

        def look(person: Person) -> Iterator[Counts]:
            seen.append(alias.in_atomic_block)
            yield Counter()

        registry.places.append(Place("looks", look, look))
        post(operator, confirmed=ADDRESS)
    finally:
        alias.settings_dict["ATOMIC_REQUESTS"] = False
    assert seen == [False]


LISTS = ("events_app.event", "events_app.inboundmail", "sending_app.mail", "sending_app.recipient")


@pytest.mark.parametrize("model", LISTS)
def test_lists_of_addresses_lead_to_the_page(database: str, client: Client, model: str) -> None:
    app_label, _, name = model.partition(".")
    link = f'href="{reverse("admin:events_app_erasedperson_erase")}"'
    sign_in(client, f"{app_label}.view_{name}", name="viewer")
    assert link not in page(client, model)
    sign_in(client, f"{app_label}.view_{name}", "events_app.erase", name="eraser")
    assert link in page(client, model)


def test_the_page_of_a_recipient_leads_to_the_page(database: str, client: Client) -> None:
    sign_in(client, "sending_app.view_recipient", "events_app.erase")
    put_in_outbox()
    shown = page(client, "sending_app.recipient", Recipient.objects.get().pk)
    assert f'href="{reverse("admin:events_app_erasedperson_erase")}"' in shown
