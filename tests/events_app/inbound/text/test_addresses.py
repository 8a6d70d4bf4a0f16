"""Addresses are read from well-formed and malformed headers. Text without an address is left out."""

import base64
from email.headerregistry import Address, HeaderRegistry
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.inbound.sources import parse_source
from tests.support.strategies import header_values


def addresses(value: str | bytes, times: int = 1) -> list[tuple[str, str, str]]:
    data = value.encode() if isinstance(value, str) else value
    found = parse_source((b"To: " + data + b"\n") * times + b"\n").to
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
        # The standard library's structured parser raises on these three.
        ("=?utf-8?q?a=0Ab?= <x@y>", [("a b", "x@y", "a b <x@y>")]),
        ("=?utf-8?q?x=00y?= <x@y>", [("xy", "x@y", "xy <x@y>")]),
        ("=?unknown?q?x=FF?= <x@y>", [("xÿ", "x@y", "xÿ <x@y>")]),
    ],
)
def test_addresses_are_read_from_a_header(value: str | bytes, expected: list[tuple[str, str, str]]) -> None:
    assert addresses(value) == expected


def read_to(value: str) -> list[Address]:
    return parse_source(f"To: {value}\n\n".encode()).to


#: Malformed mailboxes, or rare forms, and the name and address of each.
ODD = [
    # An address in the display name, without quotes and with.
    ("boss@company.example <eve@evil.example>", [("boss@company.example", "eve@evil.example")]),
    ('"boss@company.example" <eve@evil.example>', [("boss@company.example", "eve@evil.example")]),
    ("a@b.example <c@d.example>, e@f.example", [("a@b.example", "c@d.example"), ("", "e@f.example")]),
    ("ann@a.example via Acme <list@b.example>", [("ann@a.example via Acme", "list@b.example")]),
    ("Ann @ Acme <ann@a.example>", [("Ann @ Acme", "ann@a.example")]),
    ("=?utf-8?q?a@b.example?= <c@d.example>", [("a@b.example", "c@d.example")]),
    ("=?utf-8?q?Ann_=3Ca=40b=3E?=", []),
    ("=?utf-8?q?Ann <a@b.example>?= <c@d.example>", [("Ann <a@b.example>", "c@d.example")]),
    ("<=?utf-8?q?a@b.example?=>", []),
    ("=?utf-8?q?a@b.example", []),
    # Special characters in a display name.
    ("[JIRA] Ann <ann@a.example>", [("[JIRA] Ann", "ann@a.example")]),
    ("Foo [Team] <ann@a.example>", [("Foo [Team]", "ann@a.example")]),
    ("Acme: Support <ann@a.example>", [("Acme: Support", "ann@a.example")]),
    ("Acme; Inc. <ann@a.example>", [("Acme; Inc.", "ann@a.example")]),
    ("Ann <3 Bob <ann@a.example>", [("Ann <3 Bob", "ann@a.example")]),
    ("Ann <Acme> <ann@a.example>", [("Ann <Acme>", "ann@a.example")]),
    ("ACME\\ann <ann@a.example>", [("ACME\\ann", "ann@a.example")]),
    ('Ann "Bob" C. <ann@a.example>', [("Ann Bob C.", "ann@a.example")]),
    ('Ann \\"Bob\\" <ann@a.example>', [('Ann "Bob"', "ann@a.example")]),
    ('"Ann \\"B\\\\" <ann@a.example>', [('Ann "B\\', "ann@a.example")]),
    ('"Ann <ann@a.example>', [('"Ann', "ann@a.example")]),
    ("Ann (Acme <ann@a.example>", [("Ann (Acme", "ann@a.example")]),
    ("=?utf-8?q?Acme, Inc.?= <ann@a.example>", [("Acme, Inc.", "ann@a.example")]),
    # A comma belongs to a name if no address precedes.
    ("Acme, Inc. <ann@a.example>", [("Acme, Inc.", "ann@a.example")]),
    (
        "Doe, Ann, Dr. <a@a.example>, Doe, Bob <b@b.example>",
        [("Doe, Ann, Dr.", "a@a.example"), ("Doe, Bob", "b@b.example")],
    ),
    ('"Acme", Inc. <ann@a.example>', [("Acme, Inc.", "ann@a.example")]),
    ("a@a.example, Bob <b@b.example>", [("", "a@a.example"), ("Bob", "b@b.example")]),
    ("root, <a@a.example>", [("", "root"), ("", "a@a.example")]),
    ("root, <a@a.example> Ann", [("", "root"), ("Ann", "a@a.example")]),
    ("Smith, Ann, Jr., MD, PhD <a@a.example>", [("Smith, Ann, Jr., MD, PhD", "a@a.example")]),
    ("a, " * 9 + "Ann <a@a.example>", [("", "a")] * 9 + [("Ann", "a@a.example")]),
    # Separators.
    ("a@a.example; b@b.example", [("", "a@a.example"), ("", "b@b.example")]),
    ("Ann <a@a.example>; Bob <b@b.example>;", [("Ann", "a@a.example"), ("Bob", "b@b.example")]),
    ("a@a.example b@b.example", [("", "a@a.example"), ("", "b@b.example")]),
    ("Ann <a@a.example> Bob <b@b.example>", [("Ann", "a@a.example"), ("Bob", "b@b.example")]),
    ("<a@a.example, b@b.example>", [("", "a@a.example"), ("", "b@b.example")]),
    ("Ann <a@a.example, Bob <b@b.example>", [("Ann", "a@a.example"), ("Bob", "b@b.example")]),
    # Groups.
    ("Group: a@a.example, c@d.example;", [("", "a@a.example"), ("", "c@d.example")]),
    ("G: Ann <a@a.example>;, H: c@d.example;", [("Ann", "a@a.example"), ("", "c@d.example")]),
    ("Friends: a@a.example, c@d.example", [("", "a@a.example"), ("", "c@d.example")]),
    # Comments.
    ("MAILER-DAEMON@a.example (Mail Delivery System)", [("Mail Delivery System", "MAILER-DAEMON@a.example")]),
    ("<ann@a.example> (Ann (the) 2nd)", [("Ann (the) 2nd", "ann@a.example")]),
    ("ann@a.example (=?utf-8?q?=C3=BC?=) (\\(x\\))", [("ü (x)", "ann@a.example")]),
    ("Ann <ann@a.example> (Acme)", [("Ann", "ann@a.example")]),
    ("ann(x)@a.example", [("x", "ann@a.example")]),
    ("<ann(x)@a.example>", [("", "ann@a.example")]),
    ("root (System)", [("System", "root")]),
    # Forms of the address.
    ("<<ann@a.example>>", [("", "ann@a.example")]),
    # All in quotes, in square brackets, or in Outlook's single quotes.
    ('"ann@a.example"', [("", "ann@a.example")]),
    ('<"ann@a.example">', [("", "ann@a.example")]),
    ('Ann <"ann@a.example">', [("Ann", "ann@a.example")]),
    ('"<ann@a.example>"', [("", "ann@a.example")]),
    ('"Ann <ann@a.example>"', [("Ann", "ann@a.example")]),
    ('"\\"Smith, Ann\\" <ann@a.example>"', [("Smith, Ann", "ann@a.example")]),
    ('"boss@a.example", <eve@b.example>', [("", "eve@b.example")]),
    ('"boss@a.example", eve@b.example', [("", "eve@b.example")]),
    ('"Ann"', []),
    ("Ann [mailto:ann@a.example]", [("Ann", "ann@a.example")]),
    ("[ann@a.example]", [("", "ann@a.example")]),
    ("boss@a.example [eve@b.example]", [("[eve@b.example]", "boss@a.example")]),
    ("'ann@a.example'", [("", "ann@a.example")]),
    ("'Ann' <'ann@a.example'>", [("'Ann'", "ann@a.example")]),
    ("o'neil@a.example", [("", "o'neil@a.example")]),
    ("<ann@a.example> Ann", [("Ann", "ann@a.example")]),
    ("Ann <ann@a.example", [("Ann", "ann@a.example")]),
    ("Ann Smith ann@a.example", [("Ann Smith", "ann@a.example")]),
    ('"Ann" ann@a.example', [("Ann", "ann@a.example")]),
    ("mailto:ann@a.example", [("", "ann@a.example")]),
    ("Ann <MAILTO:ann@a.example>", [("Ann", "ann@a.example")]),
    ("<@r1.example,@r2.example:ann@a.example>", [("", "ann@a.example")]),
    ("ann @ a.example", [("", "ann@a.example")]),
    ("Ann @ Acme", []),
    ("< ann . smith @ a . example >", [("", "ann.smith@a.example")]),
    ("ann@a.example <>", [("", "ann@a.example")]),
    ("Mailer <>", []),
    ("Mail Delivery <MAILER-DAEMON>", [("Mail Delivery", "MAILER-DAEMON")]),
    ("<MAILER-DAEMON>", [("", "MAILER-DAEMON")]),
    ("<MAILER-DAEMON> (Mail Delivery)", [("Mail Delivery", "MAILER-DAEMON")]),
    ("<MAILER-DAEMON> Mail Delivery", [("Mail Delivery", "MAILER-DAEMON")]),
    ("Ann <b c@a.example>", []),
    ("a@b@c.example", []),
    ("Ann Smith", []),
    ("root, admin", [("", "root"), ("", "admin")]),
    ("<ann smith@a.example>", []),
    ("a@b@c", []),
    ("ann@[192.0.2.1], <ann@[IPv6:2001:db8::1]>", [("", "ann@[192.0.2.1]"), ("", "ann@[IPv6:2001:db8::1]")]),
    ("jü@münchen.example", [("", "jü@münchen.example")]),
    ("a..b@docomo.example", [("", "a..b@docomo.example")]),
    ('x <"a,b>"@c.example>', [("x", '"a,b>"@c.example')]),
    ('"a b".c@d.example', [("", '"a b.c"@d.example')]),
    ("=?@a.example, <=?x@a.example>", [("", "=?@a.example"), ("", "=?x@a.example")]),
    ("=?utf-8?q?ann@a.example, <=?utf-8?q?ann@a.example>", []),
]


@pytest.mark.parametrize(("value", "expected"), ODD)
@pytest.mark.parametrize("header", ["From", "To"])
def test_an_address_is_told_from_its_display_name(
    header: str, value: str, expected: list[tuple[str, str]]
) -> None:
    mail = parse_source(f"{header}: {value}\n\n".encode())
    found = mail.get_address_header(header)
    assert [(address.display_name, address.addr_spec) for address in found] == expected
    with_domain = [address for address in found if address.domain]
    assert header == "To" or mail.from_email == next(iter(with_domain or found), None)


def test_names_of_one_header_have_their_own_charsets() -> None:
    assert [name for name, *_ in addresses(b"Gr\xfcn <a@b>, \xe5\xb1\xb1 <c@d>")] == ["Grün", "山"]


atoms = st.text(
    st.characters(codec="ascii", categories=("L", "N")) | st.sampled_from("!#$%&'*+-/=^_`{|}~"), min_size=1
)
local_parts = st.lists(atoms, min_size=1, max_size=3).map(".".join) | st.text(
    st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=30
).filter(lambda text: text == text.strip())
domains = st.lists(
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20),
    min_size=1,
    max_size=3,
).map(".".join)
display_names = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" ")).map(
    lambda text: " ".join(text.split())
)
mailboxes = st.builds(Address, display_names, local_parts, domains)


def encoded_words(text: str, size: int) -> str:
    pieces = (text.encode()[at : at + size] for at in range(0, len(text.encode()), size))
    return "\n ".join(f"=?utf-8?b?{base64.b64encode(piece).decode()}?=" for piece in pieces)


@given(st.lists(mailboxes, min_size=1, max_size=4), st.integers(1, 40))
def test_well_formed_addresses_are_read_as_they_were_written(written: list[Address], size: int) -> None:
    specs = [Address("", address.username, address.domain) for address in written]
    names = [encoded_words(address.display_name, size) for address in written]
    assert read_to(", ".join(map(str, written))) == written
    assert read_to(", ".join(f"{name} <{spec}>" for name, spec in zip(names, specs, strict=True))) == written
    assert (
        read_to("; ".join(f"<{spec}> ({name})" for name, spec in zip(names, specs, strict=True))) == written
    )


@given(st.lists(mailboxes, min_size=1, max_size=3), st.lists(mailboxes, max_size=2), st.booleans())
def test_groups_are_read_as_by_the_standard_library(
    members: list[Address], others: list[Address], is_last: bool
) -> None:
    group, rest = f"Group: {', '.join(map(str, members))};", ", ".join(map(str, others))
    value = ", ".join(filter(None, (rest, group) if is_last else (group, rest)))
    parsed: Any = HeaderRegistry()("To", value)
    assert read_to(value) == list(parsed.addresses)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("boss@company.example <eve@evil.example>", ["eve@evil.example"]),
        ("[JIRA] Ann <ann@a.example>", ["ann@a.example"]),
        ("a@a.example; b@b.example", ["a@a.example", "b@b.example"]),
        ("Group: a@a.example;", ["a@a.example"]),
        ("<>", [""]),
    ],
)
def test_the_header_itself_has_the_same_addresses(value: str, expected: list[str]) -> None:
    header = parse_source(f"To: {value}\n\n".encode())["To"]
    assert [address.addr_spec.strip("<>") for address in header.addresses] == expected


def test_a_header_with_a_false_address_is_text() -> None:
    header = parse_source(b"From: =?utf-8?q?Ann_=3Ca=40b=3E?=\n\n")["From"]
    assert not hasattr(header, "addresses")


def test_an_address_list_too_long_to_be_parsed_is_read() -> None:
    assert addresses(", ".join(f'"N, {at}" <n{at}@example.org>' for at in range(2000)))[1999] == (
        "N, 1999",
        "n1999@example.org",
        '"N, 1999" <n1999@example.org>',
    )


def test_addresses_of_repeated_headers_are_all_read() -> None:
    assert len(addresses("a@b.example", times=2)) == 2


def test_addresses_are_read_without_the_standard_library_s_structure() -> None:
    """The structure takes a hundred times as long, and 8 kB an address."""
    mail = parse_source(b"To: G: a@b.example, c@d.example;, <e@f.example>\n" * 1000 + b"\n")
    assert [each.addr_spec for each in mail.to] == ["a@b.example", "c@d.example", "e@f.example"] * 1000
    assert not any(hasattr(value, "read") for _, value in mail.raw_items())


@given(header_values | st.text(max_size=40))
def test_no_address_raises_or_breaks_a_line(value: str) -> None:
    for parts in addresses(value):
        assert not {"\r", "\n", "\0"} & set("".join(parts))
        "".join(parts).encode()
