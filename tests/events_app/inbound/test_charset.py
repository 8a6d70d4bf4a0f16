"""Whatever bytes and charset come in, storable text comes out; and the right one where anything tells it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.inbound.charset import decode

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
def test_text_is_storable_whatever_comes(data: bytes, charset: str) -> None:
    text = decode(data, charset)
    assert "\0" not in text
    text.encode()


@given(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.sampled_from(["", "utf-8", "no-such"])
)
def test_utf_8_is_found_out(text: str, claimed: str) -> None:
    assert decode(text.encode(), claimed) == text


@pytest.mark.parametrize(
    ("text", "charset"),
    [("Grüße – 12 €", "windows-1252"), ("Grüße", "iso-8859-1"), ("Grüße", "CP850"), ("привет", " koi8-r ")],
)
def test_the_named_charset_comes_first(text: str, charset: str) -> None:
    assert decode(text.encode(charset.strip()), charset) == text


@pytest.mark.parametrize("claimed", ["", "utf-8", "us-ascii", "x-unknown", "../utf-8", "\0", "ü", "a" * 5000])
def test_windows_1252_is_what_other_bytes_are(claimed: str) -> None:
    assert decode("Grüße – 12 €".encode("windows-1252"), claimed) == "Grüße – 12 €"


def test_each_byte_has_a_character() -> None:
    assert decode(b"\x81\x8d\x8f\x90\x9d") == "\x81\x8d\x8f\x90\x9d"


@pytest.mark.parametrize("claimed", ["utf-8", ""])
def test_text_that_breaks_off_keeps_its_charset(claimed: str) -> None:
    assert decode("zu früh beendet: größ".encode()[:-3], claimed) == "zu früh beendet: gr\ufffd"


@pytest.mark.parametrize(
    "claimed",
    ["idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined", "zip", "hex"],
)
def test_what_python_has_besides_charsets_is_none(claimed: str) -> None:
    assert decode(b"\\u0041 \\q", claimed) == "\\u0041 \\q"
