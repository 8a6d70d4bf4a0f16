"""Content is decoded from its transfer encoding. Undecodable content stays unchanged."""

import binascii
from base64 import encodebytes
from quopri import encodestring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.transfer import MOST_BLOCKS_OF_SHORT, MOST_UUENCODED, decoded_content
from tests.support.inbound.sources import parse_source


def decoded(encoding: str, body: bytes) -> bytes:
    return decoded_content(parse_source(f"Content-Transfer-Encoding: {encoding}\n\n".encode() + body))


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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"aGFsbG8=aGFsbG8=", b"hallohallo"),
        (b"aGFsbA==\r\naGFs\r\n", b"hallhal"),  # a padding in each line
        (b"aGFsbG8=\n\naGFsbG8=\n", b"hallohallo"),
        (b"aGFsbG8==\naGFsbG8=", b"hallohallo"),
        (b"aGFsbG8=\n_______\nThe list: a@list.example\n", b"hallo"),  # a footer
        (b"aGFsbG8=\nThe list\n", b"hallo"),
        (b"aGFsbG8=\naGFsb", b"hallo"),
    ],
)
def test_base64_goes_on_behind_a_padding_with_whole_blocks(body: bytes, expected: bytes) -> None:
    assert decoded("base64", body) == expected


@pytest.mark.parametrize(
    "footer",
    [
        b"______\nlist footer",
        b"-- \nAnn\n",
        b"\nThe list: a@list.example\n",
        b"--\nhttps://list.example/" + b"x" * 70,
    ],
)
@pytest.mark.parametrize("content", [b"hello there!", b"hello there", b"hello the rest!!" * 9])
def test_a_footer_below_base64_is_left_out(content: bytes, footer: bytes) -> None:
    assert decoded("base64", encodebytes(content) + footer) == content
    assert decoded("base64", (encodebytes(content) + footer).replace(b"\n", b"\r\n")) == content


@pytest.mark.parametrize(
    "text",
    [
        b"Hello there, this is not base64.",
        b"Hello\r\n\r\nThis is not base64, Ann.\r\n",
        b"Dear\nthis is not base64\n--\nAnn",
        b"two words",
        b"a = b\n",
    ],
)
def test_plain_text_declared_base64_stays_as_it_is(text: bytes) -> None:
    assert decoded("base64", text) == text


def test_a_broken_line_does_not_end_base64() -> None:
    lines = encodebytes(b"hello there!" * 20).splitlines(keepends=True)
    assert decoded("base64", lines[0] + b"," + b"".join(lines[1:])) == b"hello there!" * 20


def test_digits_of_urls_are_base64() -> None:
    assert decoded("base64", b"Pz8_-_--\n") == b"???\xfb\xff\xbe"


def test_base64_of_too_many_blocks_is_cut() -> None:
    assert len(decoded("base64", b"YQ==" * 100)) == 100
    assert len(decoded("base64", b"YQ==" * 10_000)) == 1 + MOST_BLOCKS_OF_SHORT + (4 * 10_000 - 4) // 40


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a= \t\r\nb", b"ab"),
        (b"a=\rb=\rc", b"abc"),
        (b"a=\r\nb=\nc", b"abc"),
        (b"=3d=3D", b"=="),
        (b"50% =off =XY =", b"50% =off =XY "),
        (b"a =20\n", b"a  \n"),
        (b"\xc3\xa9=C3=A9", "éé".encode()),
    ],
)
def test_broken_quoted_printable_is_decoded_as_far_as_possible(body: bytes, expected: bytes) -> None:
    assert decoded("quoted-printable", body) == expected


@pytest.mark.parametrize(
    "encoding",
    ["base64;", "Base64; x=y", '"base64"', "'base64'", "base64 (by a gateway)", "(a) base64", "base-64"],
)
def test_other_spellings_of_an_encoding_are_known(encoding: str) -> None:
    assert decoded(encoding, b"aGFs") == b"hal"


@pytest.mark.parametrize(
    "encoding", ["quoted_printable", "quoted printable", "Quoted-Printable ;", "quoted-printeable"]
)
def test_other_spellings_of_quoted_printable_are_known(encoding: str) -> None:
    assert decoded(encoding, b"=68al") == b"hal"


@pytest.mark.parametrize("encoding", ["7bit", "7 bit", "8-bit", "binary", "none", "", "(", "base65"])
def test_other_content_stays_as_it_is(encoding: str) -> None:
    assert decoded(encoding, b"=3D aGFs\xff") == b"=3D aGFs\xff"


def test_uuencoded_content_is_decoded_up_to_a_size_limit() -> None:
    line = binascii.b2a_uu(b"Cat")
    assert decoded("x-uuencode", b"begin 644 cat.txt\n" + line + b"`\nend\n") == b"Cat"
    assert decoded("uuencode;", b"x\nbegin 644 cat.txt\n" + line + b"`\nend\n") == b"Cat"
    assert decoded("x-uue", line) == line
    long = b"begin 644 cat.txt\n" + line * (MOST_UUENCODED // len(line)) + b"`\nend\n"
    assert decoded("x-uuencode", long) == long


@given(st.sampled_from(["base64", "quoted-printable", "x-uuencode", "7bit", "\xff"]), st.binary(max_size=100))
def test_no_content_raises(encoding: str, body: bytes) -> None:
    assert isinstance(decoded(encoding, body), bytes)
