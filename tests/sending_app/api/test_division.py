"""A refused request is divided until the refused personalizations stand alone."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.api.division import divide
from sending_app.mail import Personalization


def personalizations(count: int) -> list[Personalization]:
    return [Personalization(id=f"id-{n}", to=[{"email": f"n{n}@example.com"}]) for n in range(count)]


@given(st.integers(1, 60), st.frozensets(st.integers(0, 70)))
def test_each_personalization_ends_in_one_list_in_order(count: int, places: frozenset[int]) -> None:
    given_ones = personalizations(count)
    refused, remaining = divide(given_ones, places)
    lists = [refused, *remaining] if refused else remaining
    assert all(remaining)
    assert all(one == sorted(one, key=given_ones.index) for one in lists)
    found = [personalization for one in lists for personalization in one]
    assert sorted(found, key=given_ones.index) == given_ones


@given(st.integers(1, 60), st.frozensets(st.integers(0, 59)), st.booleans())
def test_repeated_division_finds_all_refused_personalizations_and_no_other(
    count: int, bad: frozenset[int], is_named: bool
) -> None:
    given_ones = personalizations(count)
    culprits = [one for place, one in enumerate(given_ones) if place in bad]
    pending, accepted, refused = deque([given_ones]), list[Personalization](), list[Personalization]()
    while pending:
        part = pending.popleft()
        places = frozenset(place for place, one in enumerate(part) if one in culprits)
        if places:
            divided = divide(part, places if is_named else ())
            refused += divided.refused
            pending.extend(divided.remaining)
        else:
            accepted += part
    assert sorted(refused, key=given_ones.index) == culprits
    assert len(accepted) == count - len(culprits)


@pytest.mark.parametrize(("count", "halves"), [(2, [1, 1]), (5, [3, 2]), (1000, [500, 500])])
@pytest.mark.parametrize("places", [(), (1000,)])
def test_a_refusal_without_a_valid_place_halves(count: int, halves: list[int], places: tuple[int]) -> None:
    refused, remaining = divide(personalizations(count), places)
    assert (refused, [len(half) for half in remaining]) == ([], halves)


@pytest.mark.parametrize("places", [(), (0,), (7,)])
def test_a_single_personalization_is_refused(places: tuple[int, ...]) -> None:
    assert divide(personalizations(1), places) == (personalizations(1), [])
