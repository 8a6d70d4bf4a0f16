"""Any bytes in any declared charset become storable text, in the right charset where it can be known."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.inbound.text.decoding import decode

CHARSETS = (
    "utf-8",
    "iso-8859-1",
    "windows-1252",
    "cp850",
    "koi8-r",
    "gb2312",
    "iso-2022-jp",
    "utf-7",
    "utf-16",
)


@given(st.binary(max_size=60), st.sampled_from(CHARSETS) | st.text(max_size=20))
@example(b"\xff\x00\xd8", "utf-16")
@example(b"+2D0-", "utf-7")  # half a surrogate pair
def test_any_bytes_decode_to_storable_text(data: bytes, charset: str) -> None:
    text = decode(data, charset)
    assert "\0" not in text
    text.encode()


@given(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.sampled_from(["", "utf-8", "no-such"])
)
def test_utf_8_is_detected(text: str, declared: str) -> None:
    assert decode(text.encode(), declared) == text


@pytest.mark.parametrize(
    ("text", "charset"),
    [("Grüße – 12 €", "windows-1252"), ("Grüße", "iso-8859-1"), ("Grüße", "CP850"), ("привет", " koi8-r ")],
)
def test_the_named_charset_takes_precedence(text: str, charset: str) -> None:
    assert decode(text.encode(charset.strip()), charset) == text


@pytest.mark.parametrize(
    "declared", ["", "utf-8", "us-ascii", "x-unknown", "../utf-8", "\0", "ü", "a" * 5000]
)
def test_other_bytes_decode_as_windows_1252(declared: str) -> None:
    assert decode("Grüße – 12 €".encode("windows-1252"), declared) == "Grüße – 12 €"


def test_every_byte_decodes_to_a_character() -> None:
    assert decode(b"\x81\x8d\x8f\x90\x9d") == "\x81\x8d\x8f\x90\x9d"


@pytest.mark.parametrize("declared", ["utf-8", ""])
def test_truncated_text_keeps_its_charset(declared: str) -> None:
    assert decode("zu früh beendet: größ".encode()[:-3], declared) == "zu früh beendet: gr\ufffd"


@pytest.mark.parametrize(
    "declared",
    ["idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined", "zip", "hex"],
)
def test_codecs_that_are_no_charsets_are_ignored(declared: str) -> None:
    assert decode(b"\\u0041 \\q", declared) == "\\u0041 \\q"
