"""Bytes to text for any database. Malformed text never raises."""

import codecs
import re
from contextlib import suppress
from functools import cache

from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.japanese import decode_japanese
from events_app.shared.database import clean

# Python's codec and the web's, https://encoding.spec.whatwg.org/#indexes, read some characters differently.
_JIS_ON_THE_WEB = {"〜": "～", "‖": "∥", "−": "－", "¢": "￠", "£": "￡", "¬": "￢"}
_ON_THE_WEB = {
    "iso2022_jp": _JIS_ON_THE_WEB,
    "euc_jp": _JIS_ON_THE_WEB,
    "big5hkscs": {
        "•": "‧",
        "､": "﹑",
        "‾": "¯",
        "∼": "～",
        "♁": "⊕",
        "☉": "⊙",
        "¥": "￥",
        "¢": "￠",
        "£": "￡",
    },
    "gb18030": {"\ue5e5": "\u3000"},
    "koi8-u": {"╝": "ў", "╬": "Ў"},
}

#: The other reading of text that a codec cannot decode: Big5 of Hong Kong lacks some characters of Windows.
_ALSO = {"big5hkscs": "cp950"}

# The longer first: UTF-32's byte order mark begins like UTF-16's.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# ISO-2022-JP is ASCII with these escape sequences, which no other text has.
_JIS_ESCAPE = re.compile(rb"\x1b\$[@B]")

# HTML names its charset in its first 1,024 bytes (https://html.spec.whatwg.org/#charset).
_META_CHARSET = re.compile(rb"""<meta\s[^>]{0,500}?charset\s*+=\s*+["']?\s*+([^\s"'/>;]++)""", re.IGNORECASE)
_LONGEST_META = 1024

_WINDOWS = {"cp874", *(f"cp125{number}" for number in range(9))}

#: The most damaged places of a text: 1,000 and one more for each fifty bytes, and never more than 100,000.
#: A damaged place costs more than a hundred sound characters, and a mail can have a thousand texts.
MOST_GAPS = 100_000
MOST_GAPS_OF_SHORT = 1000

#: Bytes decoded between two counts of the damaged places.
_PIECE = 1000


def decode_text(data: bytes, declared: str = "") -> str:
    """Decode to text for any database; never raises.

    The charset is that of a byte order mark, else the declared charset, else ISO-2022-JP by its escape
    sequences, else UTF-8, else windows-1252, the usual charset of mislabelled text. Text with a few damaged
    places keeps its charset, with U+FFFD at these places.
    """
    marked = next((charset for mark, charset in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    charset = codec_name(declared)
    if charset in (None, "ascii", "utf-8") and is_jis(data):
        charset = "iso2022_jp"
    candidates = marked, charset, "utf-8", _ALSO.get(charset or "")
    charsets = [charset for charset in dict.fromkeys(candidates) if charset]
    # Text with escape sequences is ASCII, so as UTF-8 it is never damaged.
    is_escaped = charset is not None and charset.startswith(("iso2022", "hz")) and data.isascii()
    damaged = {}
    for charset in charsets[:1] if is_escaped else charsets:
        try:
            text = data.decode(charset)
        except ValueError:
            # The web has more characters of these charsets than Python.
            text_with_gaps = (
                codecs.charmap_decode(data, "strict", _windows_characters(charset))[0]
                if charset in _WINDOWS
                else decode_japanese(data, charset)
            )
            if text_with_gaps is None:
                continue
            if "\ufffd" in text_with_gaps:
                damaged[charset] = text_with_gaps
                continue
            text = text_with_gaps
        return _on_the_web(text, charset)
    for charset in charsets:
        text = damaged.get(charset) or _with_gaps(data, charset)
        # A right charset with damage has few gaps among its characters beyond ASCII; a wrong one has many.
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if text.count("\ufffd") * 2 <= beyond_ascii:
            return _on_the_web(text, charset)
    return clean(codecs.charmap_decode(data, "strict", _windows_characters("cp1252"))[0])


def is_jis(data: bytes) -> bool:
    """Whether the bytes are ISO-2022-JP, as their escape sequences tell."""
    return b"\x1b$" in data and data.isascii() and _JIS_ESCAPE.search(data) is not None


def html_charset(html: bytes) -> str:
    """The label of the charset in a <meta> of HTML without another label; "" for none, and for UTF-8."""
    match = _META_CHARSET.search(html[:_LONGEST_META])
    if match is None:
        return ""
    with suppress(ValueError):
        html.decode()
        return ""
    # HTML in which "<meta" is found is not UTF-16, and HTML has no UTF-7.
    label = match[1].decode("ascii", "replace")
    return "" if label.lower().startswith("utf") else label


def _on_the_web(text: str, charset: str) -> str:
    for character, on_the_web in _ON_THE_WEB.get(charset, {}).items():
        text = text.replace(character, on_the_web)
    return clean(text)


@cache
def _windows_characters(charset: str) -> str:
    """The character of each byte: the control character for an undefined byte below 160, else U+FFFD."""
    characters = bytes(range(256)).decode(charset, "replace")
    return "".join(
        chr(byte) if character == "\ufffd" and byte < 160 else character
        for byte, character in enumerate(characters)
    )


def _with_gaps(data: bytes, charset: str) -> str:
    """The text with U+FFFD at damaged places. With too many damaged places, a single U+FFFD."""
    if charset == "utf-7":
        # For each piece the decoder reads again from the last "+". The time could grow with the square
        # of the text.
        return data.decode(charset, "replace") if len(data) <= _PIECE else "\ufffd"
    decoder = codecs.getincrementaldecoder(charset)("replace")
    pieces, gaps = [], 0
    most_gaps = min(MOST_GAPS, MOST_GAPS_OF_SHORT + len(data) // 50)
    with suppress(ValueError):  # some codecs raise in spite of "replace"
        for start in range(0, len(data), _PIECE):
            end = start + _PIECE
            pieces.append(decoder.decode(data[start:end], end >= len(data)))
            gaps += pieces[-1].count("\ufffd")
            if gaps > most_gaps:
                break
        else:
            return "".join(pieces)
    return "\ufffd"
