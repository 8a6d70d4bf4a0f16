"""Criteria mean the events an operator means, on either database."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.filters import EventCriteria, find_events, missing_events, search_events
from events_app.models import Event
from tests.support.events.stored_events import open_event, store_done
from tests.support.plans import plan, scans

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def ids(**criteria: Any) -> list[str]:
    return sorted(find_events(EventCriteria(**criteria)).values_list("event_id", flat=True))


def test_an_empty_filter_finds_all_events(database: str) -> None:
    store_done(open_event("A1"), open_event("B2"))
    assert ids() == ["A1", "B2"]


def test_filter_by_our_id_or_the_sendgrid_id(database: str) -> None:
    first, *_ = store_done(open_event("A1"), open_event("b2=="), open_event("c3"))
    assert ids(ids=(str(first), "b2==")) == ["A1", "b2=="]
    assert ids(ids=("B2==", str(10**17))) == []


def test_an_id_with_more_digits_than_ours_is_a_sendgrid_id(database: str) -> None:
    number = "9" * 30
    store_done(open_event(number))
    assert ids(ids=(number,)) == [number]


def test_filter_by_the_sendgrid_id_works_with_dedupe_by_content(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(DEDUPE_BY="content")
    store_done(open_event("A1"), open_event("B2", ip="203.0.113.9"))
    assert ids(ids=("B2",)) == ["B2"]
    assert missing_events(["B2", "C3"]) == ["C3"]


def test_missing_returns_the_unknown_ids(database: str) -> None:
    first, _ = store_done(open_event("A1"), open_event("B2"))
    assert missing_events([str(first), "B2", "C3", "0", f"0{first}", str(10**17)]) == ["C3", "0", str(10**17)]
    assert missing_events([]) == []


def test_filter_by_message_id_and_by_address(database: str) -> None:
    store_done(open_event("A1", anymail_id="our-id"), open_event("B2", email="Lena@Example.ORG"))
    assert ids(message_id="our-id") == ["A1"]
    assert ids(message_id="our") == []
    assert ids(address="lENA@example.org") == ["B2"]
    assert ids(address="lena") == []


def test_filter_by_any_spelling_of_an_address(database: str) -> None:
    store_done(open_event("A1", email='"a..b"@docomo.example'), open_event("B2", email="groß@example.org"))
    assert ids(address='"A..b"@docomo.example') == ids(address="a..b@docomo.example") == ["A1"]
    assert ids(address="GROß@example.org") == ["B2"]
    assert ids(address="gross@example.org") == []


def test_filter_by_event_type(database: str) -> None:
    store_done(open_event("A1"), open_event("B2", event="click"), open_event("C3", event="bounce"))
    assert ids(types=("clicked",)) == ["B2"]
    assert ids(types=("clicked", "bounced")) == ["B2", "C3"]


def test_all_given_filters_must_match(database: str) -> None:
    first, second = store_done(open_event("A1"), open_event("B2", email="lena@example.org"))
    asked = {"ids": (str(first), str(second)), "address": "lena@example.org", "states": ("done",)}
    assert ids(**asked) == ["B2"]
    assert ids(**asked, types=("clicked",)) == []


def test_filter_by_the_beginning_of_an_address(database: str) -> None:
    store_done(open_event("A1", email="Ann@example.org"), open_event("B2", email="anna@example.org"))
    assert ids(address="ANN*") == ["A1", "B2"]
    assert ids(address="ann@exam*") == ["A1"]
    assert ids(address="a_n*") == ids(address="nn*") == []


def test_a_star_alone_does_not_mean_every_address(database: str) -> None:
    store_done(open_event("A1"))
    assert ids(address="*") == ids(address=" * ") == []


def test_an_index_serves_rare_types_and_addresses(database: str) -> None:
    assert "event_rare" in plan(find_events(EventCriteria(types=("bounced",))).order_by("-pk"))
    assert "event_rare" in plan(find_events(EventCriteria(types=("bounced", "complained"))))
    assert scans(find_events(EventCriteria(types=("bounced", "clicked"))))
    assert "event_recipient" in plan(find_events(EventCriteria(address="ann*")))
    assert "event_recipient" in plan(find_events(EventCriteria(address="ann@example.com")))


def searched(term: str) -> list[str]:
    rows = Event.objects.filter(search_events(term, by_part=True))
    return sorted(rows.values_list("event_id", flat=True))


@pytest.mark.parametrize(
    "term", ["70001", "A1==", "our-id", "Ann@example.org", " ann@example.org ", "ANN", "ann@ex", "an*"]
)
def test_a_search_finds_an_event_by_id_message_id_or_address(database: str, term: str) -> None:
    first, _ = store_done(
        open_event("A1==", email="Ann@Example.org", anymail_id="our-id"), open_event("B2", email="bo@a.org")
    )
    Event.objects.filter(pk=first).update(id=70001)
    assert searched(term) == ["A1=="]


@pytest.mark.parametrize("term", ["ann@example.co", "example", "our", "*", "", "_nn", "\0", "9" * 40])
def test_a_search_finds_no_other_events(database: str, term: str) -> None:
    store_done(open_event("A1", email="ann@example.com", anymail_id="our-id"))
    assert searched(term) == []


def test_a_search_by_the_sendgrid_id_works_with_dedupe_by_content(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(DEDUPE_BY="content")
    store_done(open_event("A1"), open_event("B2", ip="203.0.113.9"))
    assert searched("B2") == ["B2"]


def test_a_search_may_be_by_whole_addresses_only(database: str) -> None:
    store_done(open_event("A1", email="ann@example.org"))
    terms = {"ann@example.org": True, "ann@example.org*": True, "ann": False, "ann*": False}
    for term, finds in terms.items():
        assert Event.objects.filter(search_events(term, by_part=False)).exists() == finds


def test_a_search_needs_a_constant_number_of_queries(database: str) -> None:
    counts = []
    for number in range(1, 20, 9):
        store_done(*(open_event(f"{number}-{more}", email="ann@a.org") for more in range(number)))
        with CaptureQueriesContext(connections[database]) as queries:
            assert searched("ann@a.org")
        counts.append(len(queries))
    assert counts == [5, 5, 5]
