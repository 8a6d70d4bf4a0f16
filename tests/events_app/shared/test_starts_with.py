"""A search by the beginning of an address finds what Python's `startswith` finds, by an index."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events_app.models import Event, InboundMail
from events_app.shared.addresses import comparable, for_search, wanted_beginning
from events_app.shared.database import StartsWith, clean
from events_app.sql import insert_new_events
from sending_app.models import Recipient
from tests.support.events.stored_events import new_event
from tests.support.plans import plan

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

#: Characters that mean something in LIKE, GLOB or a format, and the edges of Unicode and of UTF-16.
HOSTILE = "%_*?[]^\\\\'\"{}aAzZß\u0130 \t.@\ud7ff\ue000\uffff\U00010000\U0010ffff\0\ud800"

texts = st.text(st.sampled_from(HOSTILE) | st.characters(codec=None), max_size=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), texts, st.integers(0, 4))
def test_a_prefix_finds_the_addresses_that_begin_with_the_text(
    database: str, written: list[str], other: str, length: int
) -> None:
    Event.objects.all().delete()
    addresses = [comparable(clean(text)) for text in written]
    insert_new_events(
        [new_event(number, recipient=address) for number, address in enumerate(addresses, 1)], database
    )
    for prefix in (clean(other), addresses[0][:length]):
        rows = Event.objects.filter(StartsWith("recipient", prefix)).order_by("pk")
        expected = [address for address in addresses if address.startswith(prefix)]
        assert list(rows.values_list("recipient", flat=True)) == expected


@pytest.mark.parametrize(
    ("model", "column", "index"),
    [
        (Event, "recipient", "event_recipient"),
        (InboundMail, "sender", "inbound_sender"),
        (InboundMail, "recipient", "inbound_recipient"),
        (Recipient, "address", "recipient_address"),
    ],
)
@pytest.mark.parametrize("text", ["ann", "ann@exa_", "\U0010ffff"])
def test_an_index_serves_a_prefix(
    database: str, model: type[Event], column: str, index: str, text: str
) -> None:
    assert index in plan(model.objects.filter(StartsWith(column, text)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" Ann@Exa*", "ann@exa"),
        ("a_%*", "a_%"),
        ("*", ""),
        ("**", "*"),
        ('"Ann\tB*', '"ann b'),
        ("Groß*", "groß"),
        ("ann@example.com", None),
        ("a*n@example.com", None),
        ("", None),
    ],
)
def test_a_star_at_the_end_asks_for_a_beginning(written: str, meant: str | None) -> None:
    assert wanted_beginning(written) == meant


@pytest.mark.parametrize(
    ("term", "address"),
    [
        ("ann", "ann*"),
        ("ann@exam", "ann@exam*"),
        ("ann*", "ann*"),
        (" ann@example.com ", "ann@example.com"),
        ("ann@example.com*", "ann@example.com*"),
        ("example.com", "example.com*"),
        ("", "*"),
    ],
)
def test_a_term_without_a_whole_domain_is_a_beginning(term: str, address: str) -> None:
    assert for_search(term, by_part=True) == address
    assert for_search(term, by_part=False) == term.strip().rstrip("*")


@given(st.text(st.sampled_from("a*@. \t\u3000")))
def test_a_search_for_whole_addresses_is_never_a_beginning(term: str) -> None:
    assert wanted_beginning(for_search(term, by_part=False)) is None
