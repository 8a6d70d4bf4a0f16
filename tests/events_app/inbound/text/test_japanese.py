"""Japanese text has the characters of NEC and IBM, which Python's codecs lack, in linear time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text import japanese
from events_app.inbound.text.decoding import decode_text

JIS = b"\x1b$B"
ASCII = b"\x1b(B"

#: The characters of TEXT in two bytes each. NEC selected the third from IBM's characters.
PAIRS = b"\x2d\x21\x2d\x6a\x7c\x62\x21\x41\x30\x21"
TEXT = "①㈱髙～亜"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a " + JIS + PAIRS + ASCII + b" b\n", f"a {TEXT} b\n"),
        (b"\x1b$@" + PAIRS, TEXT),
        (JIS + b"\x21\x41\x21\x42\x21\x5d\x21\x71\x21\x72\x22\x4c" + ASCII, "～∥－￠￡￢"),
        (JIS + b"\x30\x21\x1b(J\\\x1b(I1" + ASCII + b"1", "亜¥ｱ1"),
        (b"\x1b$(D\x30\x21" + ASCII, "丂"),
        (JIS + b"\x30\x21\x7e\x7e" + ASCII, "亜\ufffd"),
        (JIS + b"\x30\x21\x30" + ASCII, "亜\ufffd"),
        ("日本語 é".encode(), "日本語 é"),
    ],
)
def test_iso_2022_jp(data: bytes, text: str) -> None:
    assert decode_text(data, "iso-2022-jp") == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a " + bytes(byte | 0x80 for byte in PAIRS) + b" b", f"a {TEXT} b"),
        (b"\xb0\xa1\x8e\xb1\x8f\xb0\xa1\n", "亜ｱ丂\n"),
        (b"\xb0\xa1\xb0 a", "亜\ufffd a"),
        ("日本語 é".encode(), "日本語 é"),
    ],
)
def test_euc_jp(data: bytes, text: str) -> None:
    assert decode_text(data, "euc-jp") == text


@given(st.text(st.characters(codec="iso2022_jp", exclude_characters="\0\x1b\x0e\x0f〜‖−¢£¬¥‾")))
def test_python_reads_the_usual_characters_alike(text: str) -> None:
    for charset in ("iso-2022-jp", "euc-jp"):
        assert decode_text(text.encode(charset), charset) == text


def test_text_of_too_many_runs_is_left_to_python() -> None:
    lines = [JIS + pair + ASCII + b"a\n" for pair in (b"\x7c\x62", b"\x30\x21")]
    assert decode_text(lines[0] + lines[1] * 400, "iso-2022-jp") == "髙a\n" + "亜a\n" * 400
    many = japanese.MOST_RUNS
    assert decode_text(lines[0] + lines[1] * many, "iso-2022-jp") == "\ufffda\n" + "亜a\n" * many


@given(st.binary(), st.sampled_from(["iso2022_jp", "euc_jp"]))
def test_any_bytes_have_a_text(data: bytes, charset: str) -> None:
    assert japanese.decode_japanese(data, charset) is not None
