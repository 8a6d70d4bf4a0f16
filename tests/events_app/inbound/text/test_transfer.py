"""Content is decoded from its transfer encoding. Undecodable content stays unchanged."""

import binascii
from base64 import encodebytes
from quopri import encodestring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.parse import mime
from events_app.inbound.text.decoding import MOST_UUENCODED, content


def decoded(encoding: str, body: bytes) -> bytes:
    return content(mime.parse(f"Content-Transfer-Encoding: {encoding}\n\n".encode() + body))


@given(st.binary(max_size=200))
def test_base64_is_decoded(data: bytes) -> None:
    assert decoded("base64", encodebytes(data)) == data
    assert decoded(" BASE64", encodebytes(data).replace(b"\n", b"\r\n!\xff ")) == data


@given(st.binary(max_size=200).filter(lambda data: b"\r" not in data))
def test_quoted_printable_and_8_bit_are_decoded(data: bytes) -> None:
    assert decoded("quoted-printable", encodestring(data)) == data
    assert decoded("8bit", data) == decoded("x-unheard-of", data) == data


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"aGFs", b"hal"),
        (b"aGFsbG", b"hall"),
        (b"aGFsbG8", b"hallo"),
        (b"aGFsb", b"hal"),
        (b"a", b""),
        (b"===", b""),
    ],
)
def test_truncated_base64_is_decoded_as_far_as_possible(body: bytes, expected: bytes) -> None:
    assert decoded("base64", body) == expected


def test_uuencoded_content_is_decoded_up_to_a_size_limit() -> None:
    line = binascii.b2a_uu(b"Cat")
    assert decoded("x-uuencode", b"begin 644 cat.txt\n" + line + b"`\nend\n") == b"Cat"
    long = b"begin 644 cat.txt\n" + line * (MOST_UUENCODED // len(line)) + b"`\nend\n"
    assert decoded("x-uuencode", long) == long


@given(st.sampled_from(["base64", "quoted-printable", "x-uuencode", "7bit", "\xff"]), st.binary(max_size=100))
def test_no_content_raises(encoding: str, body: bytes) -> None:
    assert isinstance(decoded(encoding, body), bytes)
