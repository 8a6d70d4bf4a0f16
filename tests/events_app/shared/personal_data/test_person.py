"""An address is found and replaced in any coding, and a longer address is another person's."""

import base64
import html
import json
import quopri
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.pseudonyms import is_pseudonym
from tests.support.examples import examples

ANN = Person("ann@example.com")
KEY = "0123456789abcdef" * 4

some = hypothesis_settings(
    max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY=KEY)


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def lower_percent(text: str) -> str:
    return percent(text).lower()


def twice_percent(text: str) -> str:
    return quote(quote(text, safe=""), safe="")


def json_escapes(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def decimal(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


def hexadecimal(text: str) -> str:
    return "".join(f"&#x{ord(character):X};" for character in text)


def named(text: str) -> str:
    return text.replace("@", "&commat;").replace(".", "&period;")


def every_byte_quoted(text: str) -> str:
    return "".join(f"={byte:02X}" for byte in text.encode())


def soft_line_breaks(text: str) -> str:
    return "=\r\n".join(text)


def quoted_printable(text: str) -> str:
    return quopri.encodestring(text.encode(), quotetabs=True).decode()


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def url_safe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def base64_lines(text: str) -> str:
    return base64.encodebytes(("." * 50 + " " + text).encode()).decode().replace("\n", "\r\n")


def base64_of_percent(text: str) -> str:
    return base64_text(quote(text, safe=""))


def base64_twice(text: str) -> str:
    return base64_text(base64_text(text))


def in_json(text: str) -> str:
    return json.dumps(text)


def unchanged(text: str) -> str:
    return text


CODINGS = (
    *(unchanged, str.upper, quote, percent, lower_percent, twice_percent, json_escapes, in_json),
    *(html.escape, decimal, hexadecimal, named, every_byte_quoted, soft_line_breaks, quoted_printable),
    *(base64_text, url_safe, base64_lines, base64_of_percent, base64_twice),
)
codings = st.sampled_from(CODINGS)

_ATOM = "abcdefghijklmnopqrstuvwxyz0123456789"
words = st.text(_ATOM, min_size=1, max_size=8)
locals_ = st.lists(words, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from(".+-_").map(lambda sign: sign.join(parts))
)
domains = st.lists(words, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "example"]))
addresses = st.builds("{}@{}".format, locals_, domains)
#: Text before and after an address, with a sign between that no address has.
beginnings = st.builds("{}{}".format, st.text(max_size=20), st.sampled_from(' <\t,;:"('))
ends = st.builds("{}{}".format, st.sampled_from(' >\t,;:")'), st.text(max_size=20))


@some
@given(addresses, codings, beginnings, ends)
def test_an_address_is_found_and_replaced_in_each_coding(
    address: str, coding: Callable[[str], str], before: str, after: str
) -> None:
    person = Person(address)
    assume("\\" not in before + after)  # before an address a backslash is the beginning of an escape
    content = coding(
        before.encode("utf-8", "replace").decode() + address + after.encode("utf-8", "replace").decode()
    )
    assert person.is_in(content)
    assert person.is_in(content.encode())
    assert not person.is_in(person.redact(content))
    assert person.redact(content.encode()) == person.redact(content).encode()


@some
@given(st.binary(max_size=60), addresses, st.sampled_from(["utf-16", "utf-16-be", "utf-32"]))
def test_an_address_is_found_in_wide_characters(around: bytes, address: str, coding: str) -> None:
    person = Person(address)
    content = f"to {address}, and".encode(coding)
    redacted = person.redact(content)
    assert person.is_in(content)
    assert not person.is_in(redacted)
    assert redacted.decode(coding) == f"to {person.pseudonym}, and"
    assert person.is_in(base64.b64encode(content))


@some
@given(
    addresses,
    codings,
    st.sampled_from(
        ["x{}", "x.{}", "x+{}", "x-{}", "x_{}", "1{}", "x'{}", "{}x", "{}.x", "{}-x", "{}1", "ö{}"]
    ),
)
def test_a_longer_address_is_another_person(address: str, coding: Callable[[str], str], form: str) -> None:
    assume(form.isascii() or coding is not str.upper)  # other letters keep their case
    content = coding(f"to {form.format(address)} and")
    assert not Person(address).is_in(content)
    assert Person(address).redact(content) is content
    assert Person(form.format(address)).is_in(content)


@some
@given(st.text(max_size=200), st.binary(max_size=200), addresses)
@example("@@", b"%40", "a@b.example")
def test_no_other_content_changes(text: str, content: bytes, address: str) -> None:
    person = Person(address)
    if not person.is_in(text):
        assert person.redact(text) is text
    if not person.is_in(content):
        assert person.redact(content) is content


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.just("Ann@example.com")
    | st.just('"ann"@Example.COM'),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.just("ann@example.com"), children),
    max_leaves=10,
)


@some
@given(json_values, st.booleans())
def test_json_stays_json(value: Any, ascii_only: bool) -> None:
    redacted = ANN.redact(json.dumps(value, ensure_ascii=ascii_only))
    assert not ANN.is_in(redacted)
    again = json.loads(redacted)
    assert type(again) is type(value)
    assert not isinstance(value, list) or len(again) == len(value)


@some
@given(st.text(max_size=200).filter(lambda text: "\\" not in text), st.text(max_size=200), st.integers(0, 2))
def test_base64_stays_base64_of_as_many_bytes(before: str, after: str, shift: int) -> None:
    head, tail = (
        before.encode("utf-8", "replace") + b" " * (shift + 1),
        b" " + after.encode("utf-8", "replace"),
    )
    assume(not ANN.is_in(head + tail))
    encoded = base64.encodebytes(head + b"ann@example.com" + tail)
    redacted = ANN.redact(encoded)
    assert [len(line) for line in redacted.splitlines()] == [len(line) for line in encoded.splitlines()]
    filler = ANN.pseudonym.encode()[: len("ann@example.com")]
    assert base64.b64decode(redacted) == head + filler + tail


@pytest.mark.parametrize(
    "content",
    [
        "bounces+1234-5e6f-ann=example.com@em.example.org",
        "bounces%2B1234-ann%3Dexample.com%40em.example.org",
        "mailto:ann@example.com?subject=x",
        "https://shop.example/?email=ann%40example.com&x=1",
        '{"to": "\\u003cann@example.com\\u003e"}',
        "line\\nann@example.com\\n",
        "ann@example.com.",
        "邮箱ann@example.com联系",
        "'ann@example.com'",
        "=?utf-8?q?Ann_=3Cann=40example=2Ecom=3E?=",
    ],
)
def test_an_address_is_found_among_signs(content: str) -> None:
    assert ANN.is_in(content)
    assert not ANN.is_in(ANN.redact(content))


@pytest.mark.parametrize(
    "content",
    [
        "ann",
        "example.com",
        "ann=example.com",
        "ann at example.com",
        "bounces+1-joe-ann=example.com@x.example",
    ],
)
def test_other_text_is_not_the_person(content: str) -> None:
    assert not ANN.is_in(content)


@pytest.mark.parametrize("written", ["Ann@Exämple.com", "ann@xn--exmple-cua.com", '"ann"@EXÄMPLE.com'])
@pytest.mark.parametrize(
    "content",
    [
        "ann@exämple.com",
        "ANN@EXÄMPLE.COM",
        "ann@xn--exmple-cua.com",
        "ann%40ex%C3%A4mple.com",
        "ann@ex\\u00e4mple.com",
    ],
)
def test_both_spellings_of_a_domain_are_one_person(written: str, content: str) -> None:
    person = Person(written)
    assert person.is_in(content)
    assert person.pseudonym == Person("ann@xn--exmple-cua.com").pseudonym
    assert person.addresses == {"ann@exämple.com", "ann@xn--exmple-cua.com"} | {person.address}


@pytest.mark.parametrize("written", ["ann", "@example.com", "ann@", "", '""@example.com'])
def test_other_text_than_an_address_is_nowhere(written: str) -> None:
    assert not Person(written).is_address
    assert not Person(written).is_in("ann @example.com ann@ ann")


def test_a_pseudonym_replaces_the_address_in_the_same_coding() -> None:
    assert ANN.redact("to=ann%40example.com") == f"to={ANN.pseudonym.replace('@', '%40')}"
    assert ANN.redact("<ann&#64;example.com>") == f"<{ANN.pseudonym.replace('@', '&#64;')}>"
    assert is_pseudonym(ANN.redact("ANN@example.com"))


def test_without_a_key_nothing_is_replaced(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="")
    with pytest.raises(ImproperlyConfigured, match=r"PERSONAL_DATA_KEY.*is not set"):
        Person("ann@example.com").redact("ann@example.com")


def test_a_short_key_is_refused_with_a_way_to_make_one(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="short")
    with pytest.raises(ImproperlyConfigured, match=r"32 characters or more\. Make a key with python3"):
        Person("ann@example.com").pseudonym  # noqa: B018
