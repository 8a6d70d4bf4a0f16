"""Types and parameters are read as RFC 2045 writes them, and written as SendGrid takes them."""

import re
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.compose.media_type import MAX_TYPE, parse_media_type
from sending_app.exceptions import SerializationError
from tests.support.strategies import any_text


@pytest.mark.parametrize(
    ("written", "name", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        (" Text/HTML ;\r\n Charset = UTF-8 ", "text/html", {"charset": "UTF-8"}),
        ('a/b;x="c;d=\\"e\\"";y=f', "a/b", {"x": 'c;d="e"', "y": "f"}),
        ('a/b; x="open; y=z', "a/b", {"x": '"open', "y": "z"}),
        ("a/b; x=1; X=2; =3; z", "a/b", {"x": "1"}),
        ("a/b;;x=", "a/b", {"x": ""}),
        ("application/vnd.a+json", "application/vnd.a+json", {}),
    ],
)
def test_a_type_is_parsed(written: str, name: str, parameters: dict[str, str]) -> None:
    assert parse_media_type(written) == (name, parameters)


@pytest.mark.parametrize("written", ["", "text", "text/", "/plain", "text/plain x", "te xt/plain", "text/é"])
def test_other_text_is_not_a_type(written: str) -> None:
    assert parse_media_type(written) is None


@given(st.sampled_from(["a/b", "text/calendar"]), st.lists(any_text, max_size=4), st.booleans())
def test_a_written_type_is_safe_in_a_header(name: str, values: list[str], quoted: bool) -> None:
    form = '; method="{}"' if quoted else "; method={}"
    found = parse_media_type(name + "".join(map(form.format, values)))
    assert found is not None
    try:
        written = found.for_sendgrid("x")
    except SerializationError:
        return
    assert re.fullmatch(r"a/b|text/calendar(; method=[A-Z0-9-]+)?", written)
    assert len(written) <= MAX_TYPE


@given(st.text("abc-", min_size=1), st.text("abc; =", min_size=1, max_size=8))
def test_quoted_values_are_read_as_by_the_standard_library(name: str, value: str) -> None:
    entity = Message()
    entity.add_header("Content-Type", "a/b", **{name.replace("-", "_"): value})
    found = parse_media_type(entity["Content-Type"])
    assert found == ("a/b", {name: value})


def test_hostile_types_are_read_in_linear_steps() -> None:
    for hostile in (
        ';a="' * 50_000,
        ";" * 200_000,
        "; " * 100_000,
        ";a" * 100_000,
        '"' * 200_000,
        "\\" * 200_000,
    ):
        parse_media_type(f"a/b;x={hostile}")
        parse_media_type(hostile)
    parse_media_type(" " * 200_000)
    parse_media_type(";" + " " * 200_000 + "a" * 200_000)
