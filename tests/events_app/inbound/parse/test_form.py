"""A form is read byte for byte. A malformed form is Unreadable, and the error quotes no content."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.decode import Unreadable
from events_app.inbound.parse import form
from events_app.inbound.parse.form import MOST_PARTS, File, Form
from tests.support.inbound.forms import CONTENT_TYPE, Part, body, fields, read_form

SECRET = "mira.okafor@example.net"

contents = st.binary(max_size=200).filter(lambda data: b"--xYzZY" not in data)


@given(
    st.dictionaries(st.sampled_from(["to", "text", "html", "email"]), contents),
    st.lists(contents, max_size=4),
)
def test_each_byte_of_each_part_is_kept(values: dict[str, bytes], files: list[bytes]) -> None:
    parts = [Part(name, value) for name, value in values.items()]
    parts += [Part(f"attachment{at}", data, "a.bin", "image/x") for at, data in enumerate(files, 1)]
    found = read_form(parts)
    assert found.fields == values
    assert [file.content for file in found.files.values()] == files


def test_a_part_without_a_file_name_in_quotes_is_a_file() -> None:
    found = read_form([Part("attachment1", b"x", "", "message/rfc822")])
    assert found == Form(files={"attachment1": File(b"", "message/rfc822", b"x")})


def test_file_names_keep_their_bytes() -> None:
    found = read_form(
        [Part("a", b"", "\udcfcbersicht.csv", 'text/CSV; charset="iso-8859-1"'), Part("b", b"", "ü")]
    )
    assert found.files["a"] == File(b"\xfcbersicht.csv", "text/csv", b"", "iso-8859-1")
    assert found.files["b"].filename == "ü".encode()


def test_the_first_of_duplicate_fields_is_kept() -> None:
    assert read_form([Part("to", b"first"), Part("to", b"second")]).fields == {"to": b"first"}


def test_all_files_with_the_same_name_are_kept() -> None:
    found = read_form([Part("attachment1", data, "n") for data in (b"1", b"2", b"3")])
    assert {name: file.content for name, file in found.files.items()} == {
        "attachment1": b"1",
        "attachment1-2": b"2",
        "attachment1-3": b"3",
    }


def test_a_large_field_is_read() -> None:
    data = bytes(3_000_000)
    assert read_form([Part("email", data)]).fields["email"] == data


def test_a_quoted_boundary_is_read() -> None:
    data = body(fields({"to": "x"})).replace(b"xYzZY", b"x Y=:")
    assert form.read_form(BytesIO(data), 'multipart/form-data; boundary="x Y=:"').fields == {"to": b"x"}


@pytest.mark.parametrize(
    ("data", "content_type", "says"),
    [
        (b"", CONTENT_TYPE, "is no multipart form, or breaks off"),
        (b'{"to": "' + SECRET.encode() + b'"}', CONTENT_TYPE, "is no multipart form"),
        (body(fields({"to": SECRET}))[:-10], CONTENT_TYPE, "breaks off"),
        (body([Part("x", b"\r\n--xYzZY" + SECRET.encode())]), CONTENT_TYPE, "is no multipart form"),
        (body(fields({SECRET * 500: ""})), CONTENT_TYPE, "too long a header"),
        (body([Part("a", b"")] * (MOST_PARTS + 1)), CONTENT_TYPE, "has more than 2000 parts"),
        (body(fields({"to": SECRET})), "application/json", "no multipart form by its Content-Type"),
        (body(fields({"to": SECRET})), "", "no multipart form by its Content-Type"),
        (body(fields({"to": SECRET})), "multipart/form-data", "names no boundary"),
        (body(fields({"to": SECRET})), 'multipart/form-data; boundary=""', "names no boundary"),
        (body(fields({"to": SECRET})), 'multipart/form-data; boundary="a\nb"', "names no boundary"),
        (body(fields({"to": SECRET})), "multipart/form-data; boundary=\ud800", "names no boundary"),
    ],
)
def test_an_unreadable_form_raises_an_error_with_a_reason(data: bytes, content_type: str, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        form.read_form(BytesIO(data), content_type)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_form_with_the_maximum_of_parts_is_read() -> None:
    assert len(read_form([Part(str(at), b"") for at in range(MOST_PARTS)]).fields) == MOST_PARTS


@given(st.binary(max_size=300), st.text(max_size=40) | st.just(CONTENT_TYPE))
def test_no_bytes_raise_anything_but_unreadable(data: bytes, content_type: str) -> None:
    with suppress(Unreadable):
        form.read_form(BytesIO(data), content_type)
