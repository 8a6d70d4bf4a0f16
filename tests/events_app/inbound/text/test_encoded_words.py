"""Encoded words are decoded, well-formed or not. Other text is unchanged."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.encoded_words import decode_words, one_line
from tests.support.strategies import any_text, header_values


@pytest.mark.parametrize(
    ("text", "expected"), [(" a\r\nb\rc\nd ", "a b c d"), ("a\0b\ud800", "ab\ufffd"), ("a\udcc3\udcbc", "aü")]
)
def test_one_line_joins_the_lines_of_a_text(text: str, expected: str) -> None:
    assert one_line(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=?utf-8?q?M=C3=BC?= x", "Mü x"),
        ("=?UTF-8?B?TcO8?=", "Mü"),
        ("=?utf-8?b?TcO8?=", "Mü"),
        ("=?utf-8*de?q?M=C3=BC?=", "Mü"),
        ("=?iso-8859-1?q?M=FC?=", "Mü"),
        ("=?utf-8?q?a=0Ab?=", "a b"),
        ("=?utf-8?q??=", ""),
        ("a=?utf-8?q??=b", "ab"),
        ("=?", "=?"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        # Beside and inside other text.
        ("[=?utf-8?q?=C3=BC?=]", "[ü]"),
        ("a=?utf-8?q?=C3=BC?=b", "aüb"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("=?utf-8?q?a?=  =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        ("=?utf-8?b?YQ==?==?utf-8?b?Yg==?=", "ab"),
        # A character split over two words, also of two encodings.
        ("=?utf-8?q?M=C3?= =?UTF-8?q?=BC?=", "Mü"),
        ("=?utf-8?q?M=C3?= =?utf-8?b?vA==?=", "Mü"),
        ("=?utf-8?b?w7w=?= =?iso-8859-1?q?=FC?=", "üü"),
        # A charset without a name, or unknown: UTF-8, else windows-1252.
        ("=?x?q?M=C3=BC?=", "Mü"),
        ("=?x?q?=FF?=", "ÿ"),
        ("=??q?M=C3=BC?=", "Mü"),
        # Characters that should be encoded.
        ("=?utf-8?q?two words?=", "two words"),
        ("=?utf-8?q?really??=", "really?"),
        ("=?utf-8?q?1=2 = no?=", "1=2 = no"),
        ("=?utf-8?q?M\udcc3\udcbc?=", "Mü"),
        ("=?iso-8859-1?q?M\udcfc?=", "Mü"),
        ("=?utf-8?b?TcO8 TcO8?=", "MüMü"),
        # Base64 with wrong padding, in the alphabet of URLs, or cut off.
        ("=?utf-8?b?TcO8YQ?=", "Müa"),
        ("=?utf-8?b?YQ=====?=", "a"),
        ("=?utf-8?b?YQ==Yg==?=", "ab"),
        ("=?utf-8?b?Pz8_?=", "???"),
        ("=?utf-8?b?TcO8Y?=", "Mü"),
        # A word without its end.
        ("=?utf-8?q?M=C3=BC", "Mü"),
        ("=?utf-8?q?M=C3=BC?", "Mü"),
        ("=?utf-8?q?M=C3=BC <a@b>", "Mü <a@b>"),
        ("=?utf-8?q?M=C3=BC =?utf-8?q?x?=", "Müx"),
    ],
)
def test_encoded_words_are_decoded(text: str, expected: str) -> None:
    assert decode_words(text) == expected


shown = st.text(st.characters(exclude_categories=("C", "Z"))).map(str.strip)


@given(shown, st.integers(1, 20))
def test_any_text_is_read_from_encoded_words_cut_anywhere(text: str, size: int) -> None:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    in_base64 = " ".join(f"=?utf-8?b?{base64.b64encode(piece).decode()}?=" for piece in pieces)
    in_quoted = "\t".join(f"=?UTF-8?Q?{''.join(f'={byte:02X}' for byte in piece)}?=" for piece in pieces)
    assert decode_words(in_base64) == decode_words(in_quoted) == one_line(text)


@given(any_text | header_values)
def test_words_of_any_text_are_one_line_for_any_database(text: str) -> None:
    found = decode_words(text)
    assert not {"\r", "\n", "\0"} & set(found)
    found.encode()
