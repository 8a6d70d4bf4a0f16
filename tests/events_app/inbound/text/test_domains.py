"""A domain may speak for itself and its subdomains, by the names alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.domains import is_same_or_above


@pytest.mark.parametrize(
    ("domain", "other", "expected"),
    [
        ("example.org", "example.org", True),
        ("Example.ORG.", "example.org", True),
        ("example.org", "mail.example.org", True),
        ("example.org", "a.b.example.org", True),
        ("münchen.example", "xn--mnchen-3ya.example", True),
        ("xn--mnchen-3ya.example", "post.MÜNCHEN.example", True),
        ("MÜNCHEN.example", "mu\u0308nchen.example", True),
        ("localhost", "localhost", True),
        # The owner of a name below a public suffix does not own the suffix.
        ("evil.co.uk", "co.uk", False),
        ("evil.duckdns.org", "duckdns.org", False),
        ("mail.example.org", "example.org", False),
        ("notexample.org", "example.org", False),
        ("example.org", "notexample.org", False),
        ("example.org", "example.org.evil.example", False),
        ("news.example.org", "mail.example.org", False),
        ("org", "example.org", False),
        ("", "", False),
        ("", "example.org", False),
        ("example.org", "", False),
        (".", ".", False),
        ("ü" * 300, "ü" * 300, False),
        ("a\ufffd.example", "a\ufffd.example", False),
    ],
)
def test_a_domain_speaks_for_itself_and_its_subdomains(domain: str, other: str, expected: bool) -> None:
    assert is_same_or_above(domain, other) is expected


@given(st.text(), st.text())
def test_no_domain_raises(domain: str, other: str) -> None:
    is_same_or_above(domain, other)
    is_same_or_above(f"{domain}.example", other)
