"""The headers of mail from anywhere, by the structured parser of the standard library where it can read them.

On malformed headers that parser raises nearly anything (IndexError, AttributeError, RecursionError). It takes
ten microseconds a character, and on some headers its time grows with the square of their length: so each mail
has a budget for it. Without budget, or where the parser raises, a header is its text. Addresses, parameters
and encoded words are then found by regular expressions whose time grows with the length alone.
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

#: Characters of a header, or of all of one name, that are parsed into their structure: 16,000 commas take it
#: most of a second.
LONGEST = 16_000

#: The same for the Content-* headers, which each part of a mail has.
LONGEST_OF_PARTS = 4_000

#: Separators in one of these: a thousand parts with 240 each took a gigabyte. A file name of 255 characters
#: that is written in pieces (RFC 2231) takes forty.
MOST_SEPARATORS_OF_PARTS = 50

#: Separators in one header: 4,000 of them, with nothing between, take a tenth of a second and 4 MB.
MOST_SEPARATORS = 500

#: The cost of one mail's headers in the structured parser, in about microseconds of CPU. A thousand parts
#: with four usual headers each cost 800,000.
BUDGET = 1_000_000

# What `cost` reckons for any header, for each character that ends a word, for each pair of characters that
# the parser tries several ways, for each comma (an address has twenty objects), and for each character of a
# comment (each comment around it copies it).
_COST, _COST_OF_BREAK, _COST_OF_PAIR, _COST_OF_COMMA, _COST_OF_COMMENT = 100, 20, 1 / 60, 45, 1 / 25
_BREAK = re.compile(r"[^\w-]")
_OPENING = re.compile(r'["(\[<\\:.]')

# A name with spaces or brackets and without quotes, which structured parsing cuts at the first of them.
_BARE_NAMES = {
    name: re.compile(rf'(?:[^"]|"(?:[^"\\]|\\.)*")*?;\s*{name}\s*=\s*([^\s";][^";]*)', re.IGNORECASE)
    for name in ("filename", "name")
}

# The space between two encoded words is none (RFC 2047, 6.2). The standard library leaves it in names.
_WORD = r"=\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?="
_BETWEEN_WORDS = re.compile(rf"({_WORD})\s+(?={_WORD})")
_ENCODED_WORDS = re.compile(rf"{_WORD}(?:\s*+{_WORD})*+")
_ONE_WORD = re.compile(r"=\?([^?\s]++)\?([bBqQ])\?([^?\s]*+)\?=")

# The charset of an encoded word, as `email._header_value_parser.get_encoded_word` takes it; and all that
# `get_parameter` there can take for the charset of a parameter (RFC 2231), which stands before a "'".
_CHARSET_OF_WORD = re.compile(r"(?<==\?)[^?]++(?=\?[bBqQ]\?[^?]*\?=)")
_CHARSET_OF_PARAMETER = re.compile(r"""(?:(?<=[\s=")])|\A)([^\s=";()']++)'""")

_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+))', re.DOTALL)
_PIECE = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?")  # of a parameter's name, by RFC 2231

_LINE_ENDS = re.compile(r"\r\n?|\n")


class _Source(str):
    """A header as it came, and what was read in it: reading a mail asks for some headers again and again."""

    __slots__ = ("read",)

    read: Any


@dataclass
class Budget:
    """What is left for structured parsing, for one mail or for several together."""

    left: float = BUDGET

    def pays(self, cost: float) -> bool:
        """Whether there is as much; it is taken then."""
        if cost > self.left:
            return False
        self.left -= cost
        return True


class TolerantPolicy(EmailPolicy):
    """Reads what can be read, and writes each header of the source as it came."""

    #: Shared by all headers of an inbound mail. None: each header gets a new budget.
    budget: Budget | None = None

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, _Source(value)

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """The header with its structure; its text alone where that cannot be read."""
        if not isinstance(value, _Source):
            return value if hasattr(value, "name") else self._read(name, value)
        if not hasattr(value, "read"):
            value.read = self._read(name, value)
        return value.read

    def _read(self, name: str, value: str) -> Any:
        line = _unfolded(value)
        of_part = name.lower().startswith("content-")
        most = LONGEST_OF_PARTS if of_part else LONGEST
        separators = MOST_SEPARATORS_OF_PARTS if of_part else MOST_SEPARATORS
        if len(line) > most or line.count(",") + line.count(";") > separators:
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
        except Exception:  # noqa: BLE001 (what cannot be read cannot be folded)
            line = f"{name}: {one_line(value)}{self.linesep}"
            return line.encode("utf-8", "surrogateescape")


def text(part: EmailMessage, header: str) -> str | None:
    """A header's text, with nothing read in it; None where it is missing."""
    return next(map(_unfolded, _sources(part, header)), None)


def every(part: EmailMessage, header: str) -> list[Any]:
    """All headers of a name with their structure; the text of all in one where together they are too long."""
    sources = list(_sources(part, header))
    if sum(map(len, sources)) <= LONGEST:
        return cast(list[Any], part.get_all(header, []))
    return [", ".join(map(_unfolded, sources))]


def _sources(part: EmailMessage, header: str) -> Iterator[str]:
    return (value for name, value in part.raw_items() if name.lower() == header.lower())


def _unfolded(source: str) -> str:
    return decode(_LINE_ENDS.sub("", source).encode("utf-8", "surrogateescape"))


def one_line(text: str) -> str:
    """`text` as it may stand in a header or a column."""
    with suppress(UnicodeEncodeError):
        # A character in two encoded words comes as the bytes that the parser could not decode.
        text = decode(text.encode("utf-8", "surrogateescape"))
    return clean(_LINE_ENDS.sub(" ", text)).strip()


def words(text: str) -> str:
    """`text` with its encoded words (RFC 2047) decoded, on one line."""
    return one_line(_ENCODED_WORDS.sub(_decoded_words, text) if "=?" in text else text)


def _decoded_words(found: re.Match[str]) -> str:
    """What encoded words say that follow each other. A character may begin in one and end in the next."""
    parts = (
        (charset.partition("*")[0], _bytes(how, data)) for charset, how, data in _ONE_WORD.findall(found[0])
    )
    together = groupby(parts, key=lambda part: part[0])
    return "".join(_decoded(b"".join(data for _, data in parts), charset) for charset, parts in together)


def _bytes(how: str, data: str) -> bytes:
    encoded = data.encode("utf-8", "surrogateescape")
    if how in "qQ":
        return binascii.a2b_qp(encoded, header=True)
    digits = encoded.rstrip(b"=")
    with suppress(binascii.Error):
        return b64decode(digits + b"=" * (-len(digits) % 4))
    return encoded


def _decoded(data: bytes, charset: str) -> str:
    with suppress(ValueError):
        return data.decode(known(charset) or "utf-8")
    return data.decode("utf-8", "replace")


def _known(charset: re.Match[str]) -> str:
    """The charset of an encoded word by Python's name; "unknown-8bit" where it has none.

    `email._encoded_words.decode` does the same with that name. A "=" at its end may begin another word.
    """
    name, _, language = charset[0].partition("*")
    return (known(name) or "unknown-8bit") + (language and f"*{language}") + "=" * charset[0].endswith("=")


def cost(line: str) -> float:
    """About the microseconds of CPU that the structured parser takes for a header, at most."""
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
    """The name its sender gave a part, path and all, on one line; None where there is none."""
    for header, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        found = _parameter(part, header, parameter)
        if found is not None:
            return words(found)
    return None


def _parameter(part: EmailMessage, header: str, parameter: str) -> str | None:
    bare = _BARE_NAMES[parameter].match((text(part, header) or "")[:LONGEST])
    return bare[1].strip() if bare else parameters(part[header]).get(parameter)


def parameters(header: Any) -> Mapping[str, str]:
    """The parameters in a header's value, by their names in lower case; the first of each name."""
    params = getattr(header, "params", None)
    return _parameters(str(header)) if params is None else params


def _parameters(line: str) -> dict[str, str]:
    whole: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for name, quoted, bare in _PARAMETER.findall(line):
        value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else bare.strip()
        piece = _PIECE.fullmatch(name.lower())
        if piece and (piece[2] or piece[3]):
            pieces.setdefault(piece[1], {}).setdefault(int(piece[2] or 0), (bool(piece[3]), value))
        else:
            whole.setdefault(name.lower(), value)
    return {name: _joined(found) for name, found in pieces.items()} | whole


def _joined(pieces: dict[int, tuple[bool, str]]) -> str:
    """The value of a parameter that is in pieces, or percent-encoded in a charset (RFC 2231)."""
    ordered = [pieces[number] for number in sorted(pieces)]
    charset = ""
    is_encoded, value = ordered[0]
    if is_encoded and value.count("'") >= 2:
        charset, _, value = value.split("'", 2)
        ordered[0] = is_encoded, value
    data = (value.encode("utf-8", "surrogateescape") for _, value in ordered)
    encoded = (is_encoded for is_encoded, _ in ordered)
    return decode(
        b"".join(unquote_to_bytes(d) if e else d for d, e in zip(data, encoded, strict=True)), charset
    )
