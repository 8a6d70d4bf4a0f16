"""Each plain field is decoded from its own charset, to text for a JSON column."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.parse.form import Fields, Form


def read(charsets: object = None, **values: bytes) -> Fields:
    named = {} if charsets is None else {"charsets": json.dumps(charsets).encode()}
    return Fields(Form(values | named))


def test_each_field_is_decoded_in_its_named_charset() -> None:
    charsets = {
        "text": "windows-1252",
        "html": "iso-8859-1",
        "subject": "cp850",
        "to": "x-unheard-of",
        "cc": 7,
    }
    found = read(
        charsets,
        text="€ ü".encode("windows-1252"),
        html="ü".encode("iso-8859-1"),
        subject="ü".encode("cp850"),
        to="ü".encode(),
        cc="ü".encode(),
        SPF=b"pass",
    )
    del found["charsets"]
    assert found == {"text": "€ ü", "html": "ü", "subject": "ü", "to": "ü", "cc": "ü", "SPF": "pass"}


@pytest.mark.parametrize("charsets", [None, [], "utf-8", 3, {"to": None}])
def test_fields_without_a_charset_are_decoded_as_utf_8(charsets: object) -> None:
    assert read(charsets, to="ü".encode())["to"] == "ü"


def test_the_source_of_the_mail_is_not_listed_as_a_field() -> None:
    assert read(email=b"x", rawEmail=b"x", to=b"y") == {"to": "y"}


@given(
    st.dictionaries(st.text(max_size=5), st.binary(max_size=40)),
    st.dictionaries(st.text(max_size=5), st.text()),
)
def test_fields_fit_a_json_column(values: dict[str, bytes], charsets: dict[str, str]) -> None:
    found = read(charsets, **values)
    text = json.dumps(found, ensure_ascii=False)
    text.encode()
    assert not any("\0" in part for item in found.items() for part in item)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"[1]", {}),
        (b'"a"', {}),
        (b"", {}),
        (b"{{", {}),
        (b"[" * 100_000, {}),
        ('{"a": "ü"}'.encode("windows-1252"), {"a": "ü"}),
    ],
)
def test_an_object_field_is_a_dict_or_empty(value: bytes, expected: object) -> None:
    assert read(envelope=value).object("envelope") == expected
    assert read().object("envelope") == {}


@pytest.mark.parametrize(("value", "expected"), [(b" pass\n", "pass"), (b" ", None), (b"", None)])
def test_a_line_field_is_one_line_or_none(value: bytes, expected: str | None) -> None:
    assert read(SPF=value).line("SPF") == expected
    assert read().line("SPF") is None
