"""Any bytes in any declared charset become storable text, in the right charset where it can be known."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.inbound.text.decoding import decode_text, html_charset

CHARSETS = (
    "utf-8",
    "iso-8859-1",
    "windows-1252",
    "cp850",
    "koi8-r",
    "gb2312",
    "iso-2022-jp",
    "euc-jp",
    "big5",
    "windows-1253",
    "utf-7",
    "utf-16",
)


@given(st.binary(max_size=60), st.sampled_from(CHARSETS) | st.text(max_size=20))
@example(b"\xff\x00\xd8", "utf-16")
@example(b"+2D0-", "utf-7")  # half a surrogate pair
def test_any_bytes_decode_to_storable_text(data: bytes, charset: str) -> None:
    text = decode_text(data, charset)
    assert "\0" not in text
    text.encode()


@given(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.sampled_from(["", "utf-8", "no-such"])
)
def test_utf_8_is_detected(text: str, declared: str) -> None:
    assert decode_text(text.encode(), declared) == text.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("text", "charset"),
    [("Grüße – 12 €", "windows-1252"), ("Grüße", "iso-8859-1"), ("Grüße", "CP850"), ("привет", " koi8-r ")],
)
def test_the_named_charset_takes_precedence(text: str, charset: str) -> None:
    assert decode_text(text.encode(charset.strip()), charset) == text


@pytest.mark.parametrize(
    "declared", ["", "utf-8", "us-ascii", "x-unknown", "../utf-8", "\0", "ü", "a" * 5000]
)
def test_other_bytes_decode_as_windows_1252(declared: str) -> None:
    assert decode_text("Grüße – 12 €".encode("windows-1252"), declared) == "Grüße – 12 €"


@pytest.mark.parametrize("declared", ["", "iso-8859-1", "windows-1252", "utf-8", "ascii"])
def test_every_byte_decodes_to_a_character(declared: str) -> None:
    assert decode_text(b"\x81\x8d\x8f\x90\x9d", declared) == "\x81\x8d\x8f\x90\x9d"
    assert decode_text(b"It\x92s \x81", declared) == "It’s \x81"


@pytest.mark.parametrize(
    ("declared", "data", "text"),
    [
        ("iso-8859-1", b"It\x92s \x93ok\x94 \x96 5 \x80", "It’s “ok” – 5 €"),
        ("latin-1", b"\x80", "€"),
        ("ISO_8859-1:1987", b"\x80", "€"),
        ("iso-8859-1", "é".encode(), "Ã©"),  # the label, not a guess, although the bytes are UTF-8
        ("us-ascii", "é".encode(), "é"),
        ("us-ascii", b"\xe9", "é"),
        ("iso-8859-9", b"\x80\xf0", "€ğ"),
        ("iso-8859-15", b"\xa4", "€"),
        ("shift_jis", b"\x87\x40\x87\x8a\xfb\xfc\x93\x87", "①㈱髙島"),
        ("x-sjis", b"\x87\x40", "①"),
        ("gb2312", "镕堃€".encode("gbk", "replace") + "𠀀".encode("gb18030"), "镕堃?𠀀"),
        ("gbk", "𠀀".encode("gb18030"), "𠀀"),
        ("ks_c_5601-1987", "똠방각하 펲시".encode("cp949"), "똠방각하 펲시"),
        ("euc-kr", "믜".encode("cp949"), "믜"),
        ("big5", b"\xa4\xa4 \xa3\xe1", "中 €"),
        ("big5", b"\xa1\xe3 \xc6\xa1 \x88\x62", "～ ① Ê̄"),  # of Windows, ETEN and Hong Kong
        ("gb2312", b"\xa3\xa0", "\u3000"),
        ("koi8-ru", b"\xae", "ў"),
        ("windows-874", b"5 \x80 \xa1", "5 € ก"),
        ("tis-620", b"\x96", "–"),
        ("x-mac-roman", b"\x8e", "é"),
        ("x-mac-cyrillic", b"\x80", "А"),
        ("iso-8859-8-i", b"\xf9\xec\xe5\xed", "שלום"),
        ("iso-8859-8-e", b"\xf9\xec\xe5\xed", "שלום"),
        ("koi8-u", b"\xa4", "є"),
        ("windows-1251", b"\x98", "\x98"),
        # Not in the table of the web:
        ("utf-7", b"+AOk-", "é"),
        ("cp437", b"\x82", "é"),
        ("cp850", b"\x82", "é"),
        ("koi8-t", b"\x80", "қ"),
        ("hz-gb-2312", b"~{VPND~}", "中文"),
        ("iso-2022-kr", b"\x1b$)C\x0eGQ\x0f", "한"),
    ],
)
def test_a_label_has_its_meaning_on_the_web(declared: str, data: bytes, text: str) -> None:
    assert decode_text(data, declared) == text


@pytest.mark.parametrize("declared", ["", "iso-8859-1", "utf-8", "utf-16be", "x-unknown"])
@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_takes_precedence(declared: str, mark: str) -> None:
    assert decode_text("Grüße 日本 😀".encode(mark), declared) == "Grüße 日本 😀"


@pytest.mark.parametrize("declared", ["", "us-ascii", "utf-8", "x-unknown", "iso-2022-jp"])
def test_iso_2022_jp_is_known_by_its_escape_sequences(declared: str) -> None:
    assert decode_text("a 日本 b".encode("iso-2022-jp"), declared) == "a 日本 b"


@pytest.mark.parametrize(
    ("html", "charset"),
    [
        (b'<meta charset="windows-1251">\xcf', "windows-1251"),
        (b"<META http-equiv=Content-Type content='text/html; charset=koi8-r'>\xcf", "koi8-r"),
        (b'<meta charset="koi8-r">' + "П".encode(), ""),
        (b'<meta charset="utf-16">\xcf', ""),
        (b'<meta charset="utf-7">\xcf', ""),
        (b"<p>charset=koi8-r</p>\xcf", ""),
        (b" " * 1020 + b"<meta charset=koi8-r>\xcf", ""),
        (b"<meta " * 500 + b"\xcf", ""),
        (b"", ""),
    ],
)
def test_html_names_its_charset(html: bytes, charset: str) -> None:
    assert html_charset(html) == charset


@pytest.mark.parametrize("declared", ["utf-8", ""])
def test_truncated_text_keeps_its_charset(declared: str) -> None:
    assert decode_text("zu früh beendet: größ".encode()[:-3], declared) == "zu früh beendet: gr\ufffd"


@pytest.mark.parametrize(
    "declared",
    ["idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined", "zip", "hex"],
)
def test_codecs_that_are_no_charsets_are_ignored(declared: str) -> None:
    assert decode_text(b"\\u0041 \\q", declared) == "\\u0041 \\q"
