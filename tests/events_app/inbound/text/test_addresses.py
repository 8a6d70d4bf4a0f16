"""Addresses are read from well-formed and malformed headers. Text without an address is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.parse import mime
from tests.support.strategies import header_values


def addresses(value: str | bytes, times: int = 1) -> list[tuple[str, str, str]]:
    data = value.encode() if isinstance(value, str) else value
    found = mime.parse((b"To: " + data + b"\n") * times + b"\n").to
    return [(each.display_name, each.addr_spec, str(each)) for each in found]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.example", [("", "a@b.example", "a@b.example")]),
        ('"A, B" <a@b.example>', [("A, B", "a@b.example", '"A, B" <a@b.example>')]),
        ('x <"a b"@c.example>', [("x", '"a b"@c.example', 'x <"a b"@c.example>')]),
        ("=?utf-8?q?M=C3=BC=2C_X?= <m@x.example>", [("Mü, X", "m@x.example", '"Mü, X" <m@x.example>')]),
        ("Mü <m@x.example>", [("Mü", "m@x.example", "Mü <m@x.example>")]),
        (b"M\xfc <m@x.example>", [("Mü", "m@x.example", "Mü <m@x.example>")]),
        ("MAILER-DAEMON", [("", "MAILER-DAEMON", "MAILER-DAEMON")]),
        ("G: a@b, c@d;, e@f", [("", "a@b", "a@b"), ("", "c@d", "c@d"), ("", "e@f", "e@f")]),
        ("undisclosed-recipients:;", []),
        ("<>", []),
        ("", []),
        (",,a@b,,", [("", "a@b", "a@b")]),
        ("=?utf-8?b?5bGx?=\n =?utf-8?b?55Sw?= <a@b>", [("山田", "a@b", "山田 <a@b>")]),
        ("=?utf-8?q?M=C3?= =?utf-8?q?=BC?= <a@b>", [("Mü", "a@b", "Mü <a@b>")]),
        # The standard library's structured parser raises on these.
        ("=?utf-8?q?a=0Ab?= <x@y>", [("a b", "x@y", "a b <x@y>")]),
        ("=?utf-8?q?x=00y?= <x@y>", [("xy", "x@y", "xy <x@y>")]),
        ("=?unknown?q?x=FF?= <x@y>", [("xÿ", "x@y", "xÿ <x@y>")]),
    ],
)
def test_addresses_are_read_from_a_header(value: str | bytes, expected: list[tuple[str, str, str]]) -> None:
    assert addresses(value) == expected


def test_an_address_list_too_long_to_be_parsed_is_read() -> None:
    assert addresses(", ".join(f'"N, {at}" <n{at}@example.org>' for at in range(2000)))[1999] == (
        "N, 1999",
        "n1999@example.org",
        '"N, 1999" <n1999@example.org>',
    )


def test_addresses_of_repeated_headers_are_all_read() -> None:
    assert len(addresses("a@b.example", times=2)) == 2


def test_headers_over_the_parsing_budget_are_read_without_structure() -> None:
    """To parse a header of each four addresses takes a hundred times as long, and 8 kB an address."""
    mail = mime.parse(b"To: G: a@b.example, c@d.example;, <e@f.example>\n" * 1000 + b"\n")
    assert [each.addr_spec for each in mail.to] == ["a@b.example", "c@d.example", "e@f.example"] * 1000
    assert not any(hasattr(value, "read") for _, value in mail.raw_items())


@given(header_values | st.text(max_size=40))
def test_no_address_raises_or_breaks_a_line(value: str) -> None:
    for parts in addresses(value):
        assert not {"\r", "\n", "\0"} & set("".join(parts))
        "".join(parts).encode()
