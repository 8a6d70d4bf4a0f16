"""Read header text with addresses (RFC 5322, 3.4), piece by piece, in linear time.

The standard library's parser drops the caller's spelling, and its time grows faster than the text.
"""

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import NamedTuple

from events_app.shared.addresses import unescaped, unquoted, without_spaces
from sending_app.compose.address_rules import AddressFault, check_text

# A quoted string, a literal, spaces, other text, or a single special character. Comments can be nested.
_piece = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\[[^\[\]\\]*\]|[ \t]+|[^ \t"()<>,;:@\[\]\\]+|.', re.DOTALL)
_comment_part = re.compile(r"\\.|[()]", re.DOTALL)
_special = re.compile(r'["()<>,;:@\[\]\\]')

# Charsets of mail. Others of Python's codecs are no charsets, or decode in quadratic time (punycode).
_CHARSET = r"(?i:us-ascii|utf-8|(?:iso|windows|koi8|euc|gb|big5|shift_jis)[\w-]{0,12})"
_WORD = rf"=\?{_CHARSET}\?[bBqQ]\?[^?\s]*\?="
# The standard library joins the encoded words of a run in quadratic time: short runs.
_encoded_words = re.compile(rf"{_WORD}(?:[ \t]+{_WORD}){{0,30}}")


class WrittenAddress(NamedTuple):
    """An address as the caller wrote the address."""

    name: str
    #: Without name, comments, and spaces at the ends.
    address: str
    #: Before the @, in quotes if written in quotes.
    local: str
    domain: str


def read_addresses(text: str) -> Iterator[WrittenAddress]:
    """Yield the addresses of a text that passed `check_text`. A tab is a space. Raises AddressFault."""
    elements = [element for element in _elements(list(_pieces(text))) if "".join(element).strip()]
    if not elements:
        raise AddressFault("it has no address")
    for element in elements:
        name, pieces = _name_and_address(element)
        check_text(name)  # an encoded word can hide forbidden characters
        yield WrittenAddress(
            name.replace("\t", " ").strip(), *_address([piece for piece in pieces if piece[0] != "("])
        )


def _pieces(text: str) -> Iterator[str]:
    position = 0
    while match := _piece.match(text, position):
        end = _comment_end(text, position) if match[0] == "(" else match.end()
        if match[0] == '"':
            raise AddressFault("it has a quotation mark without a second one")
        yield text[position:end]
        position = end


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for match in _comment_part.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    raise AddressFault('it has "(" without ")"')


def _elements(pieces: list[str]) -> Iterator[list[str]]:
    """The pieces between commas. A group ("friends: a@x.example, b@x.example;") is its addresses."""
    # A colon without a semicolon for the end of the group belongs to a name.
    last_semicolon = max((index for index, piece in enumerate(pieces) if piece == ";"), default=0)
    element: list[str] = []
    in_brackets = in_group = False
    for index, piece in enumerate(pieces):
        if piece in {"<", ">"}:
            in_brackets = piece == "<"
        if in_brackets or piece not in {",", ";", ":"}:
            element.append(piece)
        elif piece == ":":
            if index > last_semicolon or in_group or "@" in element:
                element.append(piece)
            else:
                element, in_group = [], True
        else:
            if piece == ";" and not in_group:
                raise AddressFault("a comma separates addresses, not a semicolon")
            yield element
            element, in_group = [], in_group and piece == ","
    yield element


def _name_and_address(element: list[str]) -> tuple[str, list[str]]:
    if "<" not in element:
        return _comments(element), element
    start = element.index("<")
    before, rest = element[:start], element[start + 1 :]
    if ">" not in rest:
        raise AddressFault('it has "<" without ">"')
    end = rest.index(">")
    if "@" in before:
        raise AddressFault("a name with an @ needs quotes around the name")
    if any(piece[0] not in " \t(" for piece in rest[end + 1 :]):
        raise AddressFault("it has text after an address; a comma separates addresses")
    name = "".join(map(unquoted, before)).strip()
    return _decoded(name) or _comments(rest[end + 1 :]), rest[:end]


def _comments(pieces: list[str]) -> str:
    """The text of comments, an old place of a name: "bob@x.example (Bob)"."""
    comments = (unescaped(piece[1:-1]) for piece in pieces if piece[0] == "(")
    return _decoded(" ".join(comments).strip())


def _decoded(name: str) -> str:
    return _encoded_words.sub(_decoded_words, name) if "=?" in name else name


def _decoded_words(words: re.Match[str]) -> str:
    try:
        return str(make_header(decode_header(words[0])))
    except (HeaderParseError, LookupError, ValueError):  # base64, charset, bytes that are not of the charset
        return words[0]


def _address(pieces: list[str]) -> tuple[str, str, str]:
    """The address as written, the part before the @, and the domain."""
    if pieces.count("@") > 1:
        raise AddressFault("it has two @ outside quotes; a comma separates addresses")
    at = pieces.index("@") if "@" in pieces else 0
    local, domain = _part(pieces[:at], '"'), _part(pieces[at + 1 :], "[")
    if not local or not domain:
        raise AddressFault("it lacks an @ with text on both sides, or quotes around a name with a comma")
    return "".join(pieces).strip(" \t"), local, domain


def _part(pieces: list[str], delimiter: str) -> str:
    """A side of the @. Only `delimiter` may begin text that has special characters."""
    pieces = [piece.replace("\t", " ") for piece in pieces]
    words = [piece for piece in pieces if piece[0] != " "]
    if len(words) == 1 and words[0][0] == delimiter and len(words[0]) > 1:
        return words[0]
    part = without_spaces("".join(pieces))
    if match := _special.search(part):
        raise AddressFault(f"it has {match[0]!r} outside quotes")
    if " " in part:
        raise AddressFault("it has a space")
    return part
