"""Masked addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.shared.addresses import mask


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("ann@example.com", "a…@example.com"),
        ("al@example.com", "…@example.com"),
        ("a@example.com", "…@example.com"),
        ('"ann b"@example.com', "a…@example.com"),
        ("no address", "…"),
        ("", ""),
    ],
)
def test_an_address_keeps_its_first_character_and_its_domain(address: str, masked: str) -> None:
    assert mask(address) == masked


@given(st.text(), st.text(st.characters(exclude_characters="@")))
def test_a_masked_address_has_one_character_of_the_local_part_at_most(local: str, domain: str) -> None:
    masked = mask(f"{local}@{domain}")
    assert masked.endswith(f"…@{domain}")
    assert len(masked) <= len(f"x…@{domain}")
