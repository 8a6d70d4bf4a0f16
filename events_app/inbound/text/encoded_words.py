"""Text of a header on a single line, with its encoded words (RFC 2047) decoded, well-formed or not."""

import binascii
import re
from itertools import groupby

from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text
from events_app.inbound.text.transfer import from_base64
from events_app.shared.database import clean

#: An encoded word: charset, encoding, content. Mail programs leave spaces, 8-bit characters and "?" in the
#: content. It ends before the begin of another word, so that a search takes linear time.
ENCODED_WORD = r"=\?([^?\s]*+)\?([bBqQ])\?((?:[^?=]++|\?(?!=)|=(?!\?[^=]))*+)\?="

# The last word of a header that was cut off has no end.
_CUT_OFF = r"=\?([^?\s]*+)\?([bBqQ])\?([^?\s]*+)\??(?=\s|\Z)"
_ANY_WORD = re.compile(rf"{ENCODED_WORD}|{_CUT_OFF}")

LINE_ENDS = re.compile(r"\r\n?|\n")


def decode_source(source: str) -> str:
    """The text of a header's source, where bytes beyond ASCII are surrogates."""
    if source.isascii():
        return source
    try:
        return decode_text(source.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # other surrogates, as in JSON
        return source


def one_line(text: str) -> str:
    """The text on a single line, for a header or a column."""
    line = decode_source(text)
    if "\n" in line or "\r" in line:
        line = LINE_ENDS.sub(" ", line)
    return clean(line).strip()


def decode_words(source: str) -> str:
    """The text on a single line, its encoded words decoded.

    Space between two encoded words is dropped (RFC 2047, 6.2). A character may be split over two words of a
    charset.
    """
    if "=?" not in source:
        return one_line(source)
    texts: list[str] = []
    adjacent: list[tuple[str, bytes]] = []
    end = 0
    for match in _ANY_WORD.finditer(source):
        between = source[end : match.start()]
        if between.strip() or not adjacent:
            texts += _decoded(adjacent), decode_source(between)
            adjacent = []
        charset, encoding, content = match.groups()[:3] if match[2] else match.groups()[3:]
        charset = charset.partition("*")[0]  # without a language (RFC 2231, 5)
        adjacent.append((codec_name(charset) or charset, _content(encoding, content)))
        end = match.end()
    texts += _decoded(adjacent), decode_source(source[end:])
    return one_line("".join(texts))


def _decoded(adjacent: list[tuple[str, bytes]]) -> str:
    return "".join(
        decode_text(b"".join(content for _, content in same_charset), charset)
        for charset, same_charset in groupby(adjacent, key=lambda word: word[0])
    )


def _content(encoding: str, content: str) -> bytes:
    try:
        encoded = content.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = content.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(encoded, header=True)
    return from_base64(encoded.translate(None, b" \t"))
