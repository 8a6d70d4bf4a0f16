"""Addresses as people write them are read, or refused with a reason; what was written can be read again."""

from email.utils import formataddr
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import lazystr
from hypothesis import example, given
from hypothesis import strategies as st

from sending_app.compose.addresses import Mailbox, encoder, parse_addresses, write
from sending_app.exceptions import AnymailInvalidAddress, InvalidAddress, MailError

idna2008 = encoder("idna2008")

#: What may stand in a name: anything printable, and no text that claims to be encoded.
names = (
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=30)
    .map(lambda name: " ".join(name.split()))
    .filter(lambda name: name and "=?" not in name)
)
addresses = st.from_regex(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}@[a-z0-9-]{1,9}(\.[a-z]{2,5}){0,2}", fullmatch=True
)


def read(*texts: Any) -> list[Mailbox]:
    return parse_addresses(texts, "to", idna2008)


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("a@b.example", "", "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
        (" a@b.example ", "", "a@b.example"),
        ("Bob <b@x.example>", "Bob", "b@x.example"),
        ("Bob<b@x.example>", "Bob", "b@x.example"),
        ("Bob J. O'Neil-Smith <b@x.example>", "Bob J. O'Neil-Smith", "b@x.example"),
        ('"Smith, Bob" <b@x.example>', "Smith, Bob", "b@x.example"),
        (r'"Bob \"B\" Smith" <b@x.example>', 'Bob "B" Smith', "b@x.example"),
        ("Jörg Müller <j@x.example>", "Jörg Müller", "j@x.example"),
        ("=?utf-8?q?J=C3=B6rg?= <j@x.example>", "Jörg", "j@x.example"),
        ('"=?utf-8?q?J=C3=B6rg?=" <j@x.example>', "Jörg", "j@x.example"),
        ("a=b <a@b.example>", "a=b", "a@b.example"),
        ("a@b.example (a comment)", "", "a@b.example"),
        ('"a b"@x.example', "", '"a b"@x.example'),
        ("a@[127.0.0.1]", "", "a@[127.0.0.1]"),
        ("a@localhost", "", "a@localhost"),
        ("under_score@a_b.example", "", "under_score@a_b.example"),
        ("dots..in.a.row.@docomo.example", "", "dots..in.a.row.@docomo.example"),
        ("jörg@x.example", "", "jörg@x.example"),
        (lazystr("Bob <b@x.example>"), "Bob", "b@x.example"),
    ],
)
def test_one_address_is_read(written: Any, name: str, address: str) -> None:
    assert read(written) == [Mailbox(name, address, address)]


def test_one_text_may_contain_several_addresses() -> None:
    found = read("a@x.example, Bob <b@x.example>", "c@x.example", "some: d@x.example, e@x.example;")
    assert [one.wire[0] for one in found] == ["a", "b", "c", "d", "e"]


def test_empty_texts_are_skipped() -> None:
    assert read("", None, "a@x.example", "") == [Mailbox("", "a@x.example", "a@x.example")]


def test_a_mailbox_without_a_name_has_no_name_field() -> None:
    assert Mailbox("", "a@b", "a@b").address == {"email": "a@b"}
    assert Mailbox("B", "a@b", "a@b").address == {"email": "a@b", "name": "B"}


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("bob", "it lacks an @"),
        ("bob@", "it "),
        ("@x.example", "it lacks an @"),
        (" ", "it has no address"),
        ("some:;", "it has no address"),
        ("Smith, Bob <b@x.example>", "quotes around a name with a comma"),
        ("b@x..example", "it lacks an @"),
        ("Bob <b@x.example", "missing trailing '>'"),
        ("a@x.example b@x.example", "invalid address"),
        ("a@x.example; b@x.example", "invalid address"),
        ("Bob@home <b@x.example>", "invalid address"),
        ("a@x.example\nBcc: b@x.example", "line break"),
        ("Bob\r\n <b@x.example>", "line break"),
        ("a@x.example\n", "line break"),
        ('"Bob\n" <b@x.example>', "line break"),
        ("=?utf-8?q?a=0D=0AX?= <b@x.example>", "it "),
        ("Bob\x00 <b@x.example>", "control character"),
        ("Bob \ud83d <b@x.example>", "surrogate"),
        ("b@\ud83d.example", "surrogate"),
        ("b@-ü.example", "its domain cannot be encoded"),
        ("b@" + "ü" * 80 + ".example", "its domain cannot be encoded"),
    ],
)
def test_an_invalid_address_is_refused_with_a_reason(written: str, why: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        read("a@x.example", written)
    assert str(caught.value).startswith(f"Invalid address {written!r} in to: ")
    assert why in str(caught.value)
    assert isinstance(caught.value, MailError)
    assert isinstance(caught.value, ValueError)
    assert AnymailInvalidAddress is InvalidAddress


@given(
    st.text(st.characters(exclude_categories=()), max_size=40) | st.text('ab@.<>"\\,:;=?() \n', max_size=20)
)
def test_no_text_raises_anything_but_invalid_address(written: str) -> None:
    try:
        for found in read(written):
            local, _, domain = found.wire.rpartition("@")
            assert local
            assert domain
            assert not set("\r\n") & set(found.name + found.wire)
    except InvalidAddress:
        pass


@given(names, addresses)
@example("Smith, Bob", "b@x.example")
@example('Bob "B" \\ Smith', "b@x.example")
@example("山田 太郎", "t@x.example")
def test_a_written_address_is_read_back_unchanged(name: str, address: str) -> None:
    assert read(write({"email": address, "name": name})) == [Mailbox(name, address, address)]


@given(names, addresses)
def test_an_address_formatted_by_the_standard_library_is_read(name: str, address: str) -> None:
    assert read(formataddr((name, address))) == [Mailbox(name, address, address)]


def test_an_address_alone_is_written_bare() -> None:
    assert write({"email": "a@b.example"}) == "a@b.example"
    assert write({"email": "a@b.example", "name": "Bob B."}) == "Bob B. <a@b.example>"
    assert write({"email": "a@b.example", "name": "B, C"}) == '"B, C" <a@b.example>'


# Domains that are not ASCII


@pytest.mark.parametrize(
    ("setting", "domain", "expected"),
    [
        ("idna2008", "bücher.example", "xn--bcher-kva.example"),
        ("idna2008", "BÜCHER.Example", "xn--bcher-kva.example"),
        ("idna2008", "bu\u0308cher.example", "xn--bcher-kva.example"),
        ("idna2008", "faß.example", "xn--fa-hia.example"),
        ("idna2003", "faß.example", "fass.example"),
        ("idna2003", "bücher.example", "xn--bcher-kva.example"),
        ("uts46", "BÜCHER.example", "xn--bcher-kva.example"),
        ("none", "bücher.example", "bücher.example"),
        ("tests.sending_app.compose.test_addresses.shouted", "ü.example", "Ü.EXAMPLE"),
    ],
)
def test_encoder_encodes_domains_as_set(setting: str, domain: str, expected: str) -> None:
    assert encoder(setting)(domain) == expected


def shouted(domain: str) -> str:
    return domain.upper()


def test_an_encoder_may_be_a_function() -> None:
    assert encoder(shouted) is shouted


@pytest.mark.parametrize(
    "setting", ["idna2099", "tests.sending_app.nowhere.at_all", f"{__name__}.names", ".names"]
)
def test_an_unknown_encoder_is_refused(setting: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"IDNA_ENCODER: .*'idna2008', 'idna2003', 'uts46', 'none'"
    ):
        encoder(setting)


def test_only_the_domain_is_encoded() -> None:
    found = read("Jörg <jörg@Bücher.example>", "bu\u0308@bu\u0308cher.example")
    assert found == [
        Mailbox("Jörg", "jörg@Bücher.example", "jörg@xn--bcher-kva.example"),
        Mailbox("", "bu\u0308@bu\u0308cher.example", "bu\u0308@xn--bcher-kva.example"),
    ]


def test_an_ascii_domain_is_not_passed_to_the_encoder() -> None:
    def fails(domain: str) -> str:
        raise AssertionError(domain)

    assert parse_addresses(["a@x.example"], "to", fails)[0].wire == "a@x.example"
