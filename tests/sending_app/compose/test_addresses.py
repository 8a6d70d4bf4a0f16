"""Addresses as people write them are read, or refused with a reason; what was written can be read again."""

import unicodedata
from contextlib import suppress
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
    r"""([a-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}|"(\.|\.\.|[a-z ][a-z@,ß]?)[ .]")@"""
    r"[a-z0-9]([a-z0-9-]{0,7}[a-z0-9])?(\.[a-z]{2,5}){1,2}",
    fullmatch=True,
)

#: What `str.strip` removes: of ASCII, of text pasted from a page or a table, and line ends of Unicode.
WHITE_SPACE = ["\t", "\n", "\r\n", " \t \n", "\x0b\x0c\x1f", "\u00a0", "\u3000", "\x85", "\u2028", "\u2029"]


def read(*texts: Any, sender: bool = False) -> list[Mailbox]:
    return parse_addresses(texts, "to", idna2008, sender=sender)


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("a@b.example", "", "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
        (" a@b.example ", "", "a@b.example"),
        *((f"{space}a@b.example", "", "a@b.example") for space in WHITE_SPACE),
        *((f"a@b.example{space}", "", "a@b.example") for space in WHITE_SPACE),
        *((f"{space}Bob <b@x.example>{space}", "Bob", "b@x.example") for space in WHITE_SPACE),
        ("Bob\t<b@x.example>", "Bob", "b@x.example"),
        ("Bob\tB.\tSmith\t<\tb@x.example\t>\t(EU)", "Bob B. Smith", "b@x.example"),
        ('"Smith,\tBob" <b@x.example>', "Smith, Bob", "b@x.example"),
        ("\tb@x.example\t(Bob\tSmith)", "Bob Smith", "b@x.example"),
        ("=?utf-8?q?J=C3=B6rg=09Smith=09?= <j@x.example>", "Jörg Smith", "j@x.example"),
        ("=?utf-8?q?J=C3?=\t=?utf-8?q?=B6rg?= <j@x.example>", "Jörg", "j@x.example"),
        ("Bob <b@x.example>", "Bob", "b@x.example"),
        ("Bob<b@x.example>", "Bob", "b@x.example"),
        ("Bob J. O'Neil-Smith <b@x.example>", "Bob J. O'Neil-Smith", "b@x.example"),
        ('"Smith, Bob" <b@x.example>', "Smith, Bob", "b@x.example"),
        (r'"Bob \"B\" Smith" <b@x.example>', 'Bob "B" Smith', "b@x.example"),
        ("Jörg Müller <j@x.example>", "Jörg Müller", "j@x.example"),
        ("=?utf-8?q?J=C3=B6rg?= <j@x.example>", "Jörg", "j@x.example"),
        ('"=?utf-8?q?J=C3=B6rg?=" <j@x.example>', "Jörg", "j@x.example"),
        ("a=b <a@b.example>", "a=b", "a@b.example"),
        ("a@b.example (a comment)", "a comment", "a@b.example"),
        ("shop@x.example (Shop)", "Shop", "shop@x.example"),
        (r"shop@x.example (Shop (\(EU))", "Shop ((EU)", "shop@x.example"),
        ("<shop@x.example> (Shop)", "Shop", "shop@x.example"),
        ("Shop <shop@x.example> (EU)", "Shop", "shop@x.example"),
        ("Shop (EU) <shop@x.example>", "Shop (EU)", "shop@x.example"),
        ("(EU) <shop@x.example>", "(EU)", "shop@x.example"),
        ("shop@x.example (=?utf-8?q?J=C3=B6rg?=)", "Jörg", "shop@x.example"),
        ("Bob: Sales <b@x.example>", "Bob: Sales", "b@x.example"),
        ("Bob [Sales] <b@x.example>", "Bob [Sales]", "b@x.example"),
        ("Bob :) <b@x.example>", "Bob :)", "b@x.example"),
        ('Bob "B" Smith <b@x.example>', "Bob B Smith", "b@x.example"),
        ('"b@home" <b@x.example>', "b@home", "b@x.example"),
        ("=?utf-8?q?J=C3?= =?utf-8?q?=B6rg?= Smith <j@x.example>", "Jörg Smith", "j@x.example"),
        ("=?of-nobody?q?a?= <j@x.example>", "=?of-nobody?q?a?=", "j@x.example"),
        ("=?utf-8?q?=FF?= <j@x.example>", "=?utf-8?q?=FF?=", "j@x.example"),
        (f"=?punycode?q?{'a' * 9_999}-?= <j@x.example>", f"=?punycode?q?{'a' * 9_999}-?=", "j@x.example"),
        (r"=?unicode_escape?q?\d?= <j@x.example>", r"=?unicode_escape?q?\d?=", "j@x.example"),
        ("=?iso-2022-jp?b?GyRCOzNFRBsoQg==?= <j@x.example>", "山田", "j@x.example"),
        ("=?utf-8?b?a?= <j@x.example>", "=?utf-8?b?a?=", "j@x.example"),
        ("a@b.example,, ", "", "a@b.example"),
        ('"a b"@x.example', "", '"a b"@x.example'),
        ('"a@b,c"@x.example', "", '"a@b,c"@x.example'),
        ('"a..b"@docomo.example', "", '"a..b"@docomo.example'),
        ('Ann <".a"@docomo.example>', "Ann", '".a"@docomo.example'),
        ('"a."@docomo.example', "", '"a."@docomo.example'),
        (f"{'a' * 64}@x.example", "", f"{'a' * 64}@x.example"),
        (f"{'ü' * 32}@x.example", "", f"{'ü' * 32}@x.example"),
        (f"a@{'b' * 63}.example", "", f"a@{'b' * 63}.example"),
        (f"a@{'b.' * 125}com", "", f"a@{'b.' * 125}com"),
        ("a@1.x1", "", "a@1.x1"),
        ("under_score@a_b.example", "", "under_score@a_b.example"),
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
        ("\t\n", "it has no address"),
        ("some:;", "it has no address"),
        ("Smith, Bob <b@x.example>", "quotes around a name with a comma"),
        ("b@x..example", "its domain has a dot at an end, or two dots in a row"),
        ("b@.x.example", "its domain has a dot at an end, or two dots in a row"),
        ("b@x.example.", "its domain has a dot at an end, or two dots in a row"),
        ("Bob <b@x.example", 'it has "<" without ">"'),
        ("b@x.example>", "it has '>' outside quotes"),
        ("Bob (B <b@x.example>", 'it has "(" without ")"'),
        ('Bob "B <b@x.example>', "it has a quotation mark without a second one"),
        ("Bob <b@x.example> Smith", "it has text after an address; a comma separates addresses"),
        ("a@x.example b@x.example", "it has two @ outside quotes; a comma separates addresses"),
        ("a@x.example; b@x.example", "a comma separates addresses, not a semicolon"),
        ("Bob@home <b@x.example>", "a name with an @ needs quotes around the name"),
        ("mailto:b@x.example", "it has ':' outside quotes"),
        ("a@x.example: b@x.example;", "a comma separates addresses, not a semicolon"),
        ("<@relay.example:b@x.example>", "it has two @"),
        ('"a".b@x.example', "it has '\"' outside quotes"),
        ("[a]@x.example", "it has '[' outside quotes"),
        ('b@"x".example', "it has '\"' outside quotes"),
        ("bob smith@x.example", "it has a space"),
        ("bob@x example", "it has a space"),
        ("bob\tsmith@x.example", "it has a space"),
        ('""@x.example', "it has nothing between the quotes before its @"),
        ("ann@[127.0.0.1]", "its domain is an IP address, and SendGrid sends to none"),
        ("ann@[IPv6:::1]", "its domain is an IP address, and SendGrid sends to none"),
        ("ann@127.0.0.1", "its domain ends in a number"),
        ("ann@example", "its domain has no dot"),
        ("ann@localhost", "its domain has no dot"),
        ("ann@中国", "its domain has no dot"),
        ("ann@-example.com", "a part of its domain begins or ends with a hyphen"),
        ("ann@example-.com", "a part of its domain begins or ends with a hyphen"),
        ("Ann <ann@example.-com>", "a part of its domain begins or ends with a hyphen"),
        ("ann@exam!ple.com", "its domain has '!'"),
        (f"{'a' * 65}@x.example", "it has more than 64 octets before its @"),
        (f"{'ü' * 33}@x.example", "it has more than 64 octets before its @"),
        (f"a@{'b' * 64}.example", "a part of its domain is longer than 63 octets"),
        (f"a@{'b.' * 125}comm", "its domain is longer than 253 octets"),
        (f"Ann <a@{'b.' * 125}comm>", "its domain is longer than 253 octets"),
        (f"a@{'ü.' * 600}com", "its domain is longer than 253 octets"),
        ("a@x.example\nBcc: b@x.example", "line break"),
        ("Bob\r\n <b@x.example>", "line break"),
        ("a@x.example,\nb@x.example", "line break"),
        ("a@x.example\n (Ann)\n", "line break"),
        ("an\u2028n@x.example", "line break"),
        ("Bob\u2029 <b@x.example>", "line break"),
        ("Bob\x85B <b@x.example>", "line break"),
        ("Bob\x92s <b@x.example>", "control character"),
        ("=?utf-8?q?a=C2=9BX?= <b@x.example>", "control character"),
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


# Spellings


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a..b@docomo.example", Mailbox("", "a..b@docomo.example", '"a..b"@docomo.example')),
        ("Ann <.a@docomo.example>", Mailbox("Ann", ".a@docomo.example", '".a"@docomo.example')),
        ("a.@docomo.example", Mailbox("", "a.@docomo.example", '"a."@docomo.example')),
        ('"o\'neil"@x.example', Mailbox("", '"o\'neil"@x.example', "o'neil@x.example")),
        ("ann @example.com", Mailbox("", "ann @example.com", "ann@example.com")),
        ("Ann < ann @ example . com>", Mailbox("Ann", "ann @ example . com", "ann@example.com")),
        ("ann(a)@example.com", Mailbox("a", "ann@example.com", "ann@example.com")),
        ("\tann\t@example.com\n", Mailbox("", "ann\t@example.com", "ann@example.com")),
        ('"a\tb"@x.example', Mailbox("", '"a\tb"@x.example', '"a b"@x.example')),
    ],
)
def test_the_spelling_of_the_caller_is_kept(written: str, expected: Mailbox) -> None:
    assert read(written) == [expected]


@pytest.mark.parametrize("character", "\u200b\ufeff\u00ad\u2060\u200e\u202e\u3164\u034f\u00a0\u3000")
@pytest.mark.parametrize(
    "place", ["an{}n@x.example", "ann@x{}y.example", "<ann@x.example{}>", "Ann <{}ann@x.example>"]
)
@pytest.mark.parametrize("sender", [False, True])
def test_an_invisible_character_is_named(place: str, character: str, sender: bool) -> None:
    with pytest.raises(InvalidAddress) as caught:
        read(place.format(character), sender=sender)
    assert f"it has {unicodedata.name(character)} (U+{ord(character):04X})." in str(caught.value)


def test_a_joiner_is_allowed_where_the_domain_needs_a_joiner() -> None:
    assert read("ann@نامه\u200cای.example")[0].wire == "ann@xn--mgba3gch31f060k.example"
    with pytest.raises(InvalidAddress, match="its domain cannot be encoded"):
        read("ann@exam\u200cple.example")


def test_a_name_may_have_characters_that_an_address_may_not_have() -> None:
    assert read("Ann\u00a0👩\u200d💻 <ann@x.example>")[0].name == "Ann\u00a0👩\u200d💻"


@pytest.mark.parametrize(
    "address",
    [
        "webmaster@localhost",
        "a..b.@no-such-domain.invalid",
        '"a..b"@docomo.example',
        "what{ever}@-x-.example",
        "ann@[127.0.0.1]",
        f"{'a' * 65}@{'b' * 64}.example",
        "ann@x..example",
    ],
)
def test_a_sender_may_be_any_text_around_an_at_sign(address: str) -> None:
    assert read(address, sender=True) == [Mailbox("", address, address)]
    assert read(f"Ann <{address}>", sender=True) == [Mailbox("Ann", address, address)]
    assert read(write({"email": address, "name": "Ann"}), sender=True) == [Mailbox("Ann", address, address)]


@given(
    st.text(st.characters(exclude_categories=()), max_size=40)
    | st.text('ab@.<>"\\,:;=?() \t\n[]-ßİ\u200b\u00a0', max_size=20),
    st.booleans(),
    st.sampled_from(["idna2008", "idna2003", "uts46", "none"]),
)
@example("a@\u3002", False, "none")
def test_no_text_raises_anything_but_invalid_address(written: str, sender: bool, setting: str) -> None:
    try:
        parsed = parse_addresses([written], "to", encoder(setting), sender=sender)
    except InvalidAddress:
        return
    for mailbox in parsed:
        local, _, domain = mailbox.wire.rpartition("@")
        assert local
        assert domain
        assert not set("\r\n") & set(mailbox.name + mailbox.wire)
        written_again = write({"email": mailbox.wire, "name": mailbox.name})
        again = parse_addresses([written_again], "to", encoder(setting), sender=sender)
        assert again == [Mailbox(mailbox.name, mailbox.wire, mailbox.wire)]


@pytest.mark.parametrize(
    "text",
    [
        *("(", '"', "<", ":", "[", "\\", "a ", "a,", "[a", "a:;", '"\\', "ü@", "=?a?q?", "a@b.co,"),
        *("=?utf-8?q?a?= ", "a\t", "\t(", "a.", "a .", "()", "a@"),
    ],
)
@pytest.mark.parametrize("end", ["", "@b.example", " <a@b.example>"])
def test_long_texts_are_read_in_linear_time(text: str, end: str) -> None:
    with suppress(InvalidAddress):
        read(text * (300_000 // len(text)) + end)


# Written and read again


@given(names, addresses)
@example("Smith, Bob", "b@x.example")
@example('Bob "B" \\ Smith', "b@x.example")
@example("山田 太郎", "t@x.example")
def test_a_written_address_is_read_back_unchanged(name: str, address: str) -> None:
    assert read(write({"email": address, "name": name})) == [Mailbox(name, address, address)]


@given(names, addresses.filter(str.isascii))  # formataddr raises for others
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
