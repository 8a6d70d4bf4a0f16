"""Domains are aligned by their names alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.domains import are_aligned


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("example.org", "example.org", True),
        ("Example.ORG.", "example.org", True),
        ("example.org", "mail.example.org", True),
        ("a.b.example.org", "example.org", True),
        ("münchen.example", "xn--mnchen-3ya.example", True),
        ("MÜNCHEN.example", "mu\u0308nchen.example", True),
        ("example.org", "notexample.org", False),
        ("example.org", "example.org.evil.example", False),
        ("news.example.org", "mail.example.org", False),
        ("example.org", "org", False),
        ("localhost", "localhost", True),
        ("", "", False),
        ("", "example.org", False),
        (".", ".", False),
        ("ü" * 300, "ü" * 300, False),
        ("a\ufffd.example", "a\ufffd.example", False),
    ],
)
def test_equal_domains_and_subdomains_are_aligned(one: str, other: str, expected: bool) -> None:
    assert are_aligned(one, other) is are_aligned(other, one) is expected


@given(st.text(), st.text())
def test_no_domain_raises(one: str, other: str) -> None:
    are_aligned(one, other)
    are_aligned(f"{one}.example", other)
