"""The headers of mail, parsed by the standard library's structured parser within a budget.

On malformed headers the parser raises nearly any error (IndexError, AttributeError, RecursionError). Its time
is ten microseconds a character, and on some headers grows with the square of the length, so each mail has a
budget. Without budget, or after an error, a header is plain text. Regular expressions in linear time then
find addresses, parameters and encoded words.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import EmailPolicy
from itertools import groupby
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from celery.exceptions import SoftTimeLimitExceeded

from events_app.inbound.text.decoding import decode, known
from events_app.shared.database import clean

#: The most characters of a header, or of all headers of a name, for the structured parser: 16,000 commas take
#: nearly a second.
LONGEST = 16_000

#: The same for the Content-* headers in every part of a mail.
LONGEST_OF_PARTS = 4_000

#: The most separators in a Content-* header: a thousand parts with 240 each took a gigabyte. A file name of
#: 255 characters, split into pieces (RFC 2231), has forty.
MOST_SEPARATORS_OF_PARTS = 50

#: The most separators in any other header: 4,000 in a row take a tenth of a second and 4 MB.
MOST_SEPARATORS = 500

#: The budget of a mail's headers in the structured parser, in about microseconds of CPU. A thousand parts
#: with four usual headers each cost 800,000.
BUDGET = 1_000_000

# The parts of `cost`: a header; a character ending a word; a pair of characters with several readings; a
# comma (an address has twenty objects); a character of a comment (every comment around it copies it).
_COST, _COST_OF_BREAK, _COST_OF_PAIR, _COST_OF_COMMA, _COST_OF_COMMENT = 100, 20, 1 / 60, 45, 1 / 25
_BREAK = re.compile(r"[^\w-]")
_OPENING = re.compile(r'["(\[<\\:.]')

# An unquoted name with spaces or brackets: the structured parser cuts the name at the first.
_BARE_NAMES = {
    name: re.compile(rf'(?:[^"]|"(?:[^"\\]|\\.)*")*?;\s*{name}\s*=\s*([^\s";][^";]*)', re.IGNORECASE)
    for name in ("filename", "name")
}

# Space between two encoded words is dropped (RFC 2047, 6.2). The standard library keeps it in names.
_WORD = r"=\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?="
_BETWEEN_WORDS = re.compile(rf"({_WORD})\s+(?={_WORD})")
_ENCODED_WORDS = re.compile(rf"{_WORD}(?:\s*+{_WORD})*+")
_ONE_WORD = re.compile(r"=\?([^?\s]++)\?([bBqQ])\?([^?\s]*+)\?=")

# The charset of an encoded word, as `email._header_value_parser.get_encoded_word` finds it; and any text that
# `get_parameter` there can take for the charset of a parameter (RFC 2231), the text before a "'".
_CHARSET_OF_WORD = re.compile(r"(?<==\?)[^?]++(?=\?[bBqQ]\?[^?]*\?=)")
_CHARSET_OF_PARAMETER = re.compile(r"""(?:(?<=[\s=")])|\A)([^\s=";()']++)'""")

_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+))', re.DOTALL)
_PIECE = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?")  # the name of a parameter's piece (RFC 2231)

_LINE_ENDS = re.compile(r"\r\n?|\n")


class _Source(str):
    """A header's source, with its parsed structure as a cache: some headers are read again and again."""

    __slots__ = ("read",)

    read: Any


@dataclass
class Budget:
    """The budget left for structured parsing, of a mail or of several mails together."""

    left: float = BUDGET

    def pays(self, cost: float) -> bool:
        """Take `cost` from the budget; False when too little is left."""
        if cost > self.left:
            return False
        self.left -= cost
        return True


class TolerantPolicy(EmailPolicy):
    """Never raises on malformed headers, and writes the headers' source unchanged."""

    #: Shared by all headers of an inbound mail. None: each header gets a new budget.
    budget: Budget | None = None

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, source = super().header_source_parse(sourcelines)
        return name, _Source(source)

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """The header with its structure; plain text for a malformed or too costly header."""
        if not isinstance(value, _Source):
            return value if hasattr(value, "name") else self._read(name, value)
        if not hasattr(value, "read"):
            value.read = self._read(name, value)
        return value.read

    def _read(self, name: str, value: str) -> Any:
        line = _unfolded(value)
        of_part = name.lower().startswith("content-")
        longest = LONGEST_OF_PARTS if of_part else LONGEST
        most_separators = MOST_SEPARATORS_OF_PARTS if of_part else MOST_SEPARATORS
        if len(line) > longest or line.count(",") + line.count(";") > most_separators:
            return line
        if of_part and not all(map(known, _CHARSET_OF_PARAMETER.findall(line))):
            return line
        if not (self.budget or Budget()).pays(cost(line)):
            return line
        try:
            return self.header_factory(name, _CHARSET_OF_WORD.sub(_known, _BETWEEN_WORDS.sub(r"\1", line)))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 (see above)
            return line

    def fold(self, name: str, value: str) -> str:
        return decode(self.fold_binary(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        try:
            return super().fold_binary(name, value)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 (folding parses the header)
            line = f"{name}: {one_line(value)}{self.linesep}"
            return line.encode("utf-8", "surrogateescape")


def text(part: EmailMessage, header: str) -> str | None:
    """The unparsed text of a header; None for a missing header."""
    return next(map(_unfolded, _sources(part, header)), None)


def every(part: EmailMessage, header: str) -> list[Any]:
    """The headers of a name with their structure; if too long together, a single plain text."""
    sources = list(_sources(part, header))
    if sum(map(len, sources)) <= LONGEST:
        return cast(list[Any], part.get_all(header, []))
    return [", ".join(map(_unfolded, sources))]


def _sources(part: EmailMessage, header: str) -> Iterator[str]:
    return (source for name, source in part.raw_items() if name.lower() == header.lower())


def _unfolded(source: str) -> str:
    return decode(_LINE_ENDS.sub("", source).encode("utf-8", "surrogateescape"))


def one_line(text: str) -> str:
    """The text on a single line, for a header or a column."""
    with suppress(UnicodeEncodeError):
        # The parser leaves a character split over two encoded words as undecoded bytes.
        text = decode(text.encode("utf-8", "surrogateescape"))
    return clean(_LINE_ENDS.sub(" ", text)).strip()


def words(text: str) -> str:
    """The text on a single line, its encoded words (RFC 2047) decoded."""
    return one_line(_ENCODED_WORDS.sub(_decoded_words, text) if "=?" in text else text)


def _decoded_words(match: re.Match[str]) -> str:
    """The text of consecutive encoded words. A character may be split over two words."""
    decoded_words = (
        (charset.partition("*")[0], _bytes(encoding, encoded))
        for charset, encoding, encoded in _ONE_WORD.findall(match[0])
    )
    texts = []
    for charset, same_charset in groupby(decoded_words, key=lambda word: word[0]):
        encoded = b"".join(word for _, word in same_charset)
        try:
            texts.append(encoded.decode(known(charset) or "utf-8"))
        except ValueError:
            texts.append(encoded.decode("utf-8", "replace"))
    return "".join(texts)


def _bytes(encoding: str, text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return binascii.a2b_qp(encoded, header=True)
    digits = encoded.rstrip(b"=")
    with suppress(binascii.Error):
        return b64decode(digits + b"=" * (-len(digits) % 4))
    return encoded


def _known(charset: re.Match[str]) -> str:
    """Python's name for the charset of an encoded word, else "unknown-8bit".

    `email._encoded_words.decode` uses the same fallback. A "=" at the end may begin the next word.
    """
    name, _, language = charset[0].partition("*")
    return (known(name) or "unknown-8bit") + (language and f"*{language}") + "=" * charset[0].endswith("=")


def cost(line: str) -> float:
    """An upper estimate of the structured parser's CPU time for a header, in microseconds."""
    breaks, opening = len(_BREAK.findall(line)), len(_OPENING.findall(line))
    commas, comments = line.count(","), line.count("(")
    return (
        _COST
        + _COST_OF_BREAK * breaks
        + _COST_OF_PAIR * opening**2
        + _COST_OF_COMMA * commas
        + _COST_OF_COMMENT * comments * len(line)
    )


def file_name(part: EmailMessage) -> str | None:
    """The sender's name for a part's file, with its path, on a single line; None without a name."""
    for header, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        bare = _BARE_NAMES[parameter].match((text(part, header) or "")[:LONGEST])
        name = bare[1].strip() if bare else parameters(part[header]).get(parameter)
        if name is not None:
            return words(name)
    return None


def parameters(header: Any) -> Mapping[str, str]:
    """The parameters of a header by lower-case name; of duplicates, the first."""
    params = getattr(header, "params", None)
    if params is not None:
        return cast("Mapping[str, str]", params)
    complete: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for name, quoted, bare in _PARAMETER.findall(str(header)):
        text = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else bare.strip()
        piece = _PIECE.fullmatch(name.lower())
        if piece and (piece[2] or piece[3]):
            pieces.setdefault(piece[1], {}).setdefault(int(piece[2] or 0), (bool(piece[3]), text))
        else:
            complete.setdefault(name.lower(), text)
    return {name: _joined(of_name) for name, of_name in pieces.items()} | complete


def _joined(pieces: dict[int, tuple[bool, str]]) -> str:
    """A parameter joined from pieces, or percent-encoded in a charset (RFC 2231)."""
    ordered = [pieces[number] for number in sorted(pieces)]
    charset = ""
    is_encoded, text = ordered[0]
    if is_encoded and text.count("'") >= 2:
        charset, _, text = text.split("'", 2)
        ordered[0] = is_encoded, text
    encoded = ((is_encoded, text.encode("utf-8", "surrogateescape")) for is_encoded, text in ordered)
    return decode(
        b"".join(unquote_to_bytes(piece) if is_encoded else piece for is_encoded, piece in encoded), charset
    )
