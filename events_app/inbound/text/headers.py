"""The headers of mail: their source, their text, and the standard library's structure within a budget.

The library's structured parser gives `message["To"]` its attribute `addresses`, and so on. On malformed
headers the parser raises nearly any error (IndexError, AttributeError, RecursionError). Its time is ten
microseconds a character, and on some headers grows with the square of the length, so each mail has a budget.
Without budget, or after an error, a header is plain text. The structure is wrong for many malformed headers,
so the modules `addresses` and `parameters` read the source; `message["To"].addresses` are these addresses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from events_app.inbound.text.addresses import read_addresses
from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text, is_jis
from events_app.inbound.text.encoded_words import (
    ENCODED_WORD,
    LINE_ENDS,
    decode_source,
    decode_words,
    one_line,
)

#: The most characters of a header for the structured parser: 16,000 commas take nearly a second.
LONGEST = 16_000

#: The same for the Content-* headers in every part of a mail.
LONGEST_OF_PARTS = 4_000

#: The most characters before the parameters of such a header. A type has at most 255 (RFC 6838, 4.2).
LONGEST_BEGINNING = 300

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

# Space between two encoded words is dropped (RFC 2047, 6.2). The standard library keeps it in names.
_BETWEEN_WORDS = re.compile(rf"({ENCODED_WORD})\s+(?==\?)")

# The charset of an encoded word, as `email._header_value_parser.get_encoded_word` finds it; and any text that
# `get_parameter` there can take for the charset of a parameter (RFC 2231), the text before a "'".
_CHARSET_OF_WORD = re.compile(r"(?<==\?)[^?]++(?=\?[bBqQ]\?[^?]*\?=)")
_CHARSET_OF_PARAMETER = re.compile(r"""(?:(?<=[\s=")])|\A)([^\s=";()']++)'""")

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

#: The headers with a structure; other headers are text.
_STRUCTURED = {
    name for name, header in HeaderRegistry().registry.items() if not issubclass(header, UnstructuredHeader)
}


class _Source(str):
    """A header's source, with its parsed structure as a cache: some headers are read again and again."""

    __slots__ = ("read", "text")

    read: Any
    #: The source in the charset of the mail, where `decode_bytes` has decoded it.
    text: str


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
        source = _single_line(value)
        if name.lower() not in _STRUCTURED:
            return decode_words(source)
        line = decode_source(source)
        try:
            return self._structured(name, source, line) if self._affords(name, line) else line
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 (see above)
            return line

    def _affords(self, name: str, line: str) -> bool:
        """Whether the structured parser may read the header. Takes the cost from the budget."""
        of_part = name.lower().startswith("content-")
        longest = LONGEST_OF_PARTS if of_part else LONGEST
        most_separators = MOST_SEPARATORS_OF_PARTS if of_part else MOST_SEPARATORS
        return (
            len(line) <= longest
            and line.count(",") + line.count(";") <= most_separators
            and (not of_part or all(map(codec_name, _CHARSET_OF_PARAMETER.findall(line))))
            and (self.budget or Budget()).pays(cost(line))
        )

    def _structured(self, name: str, source: str, line: str) -> Any:
        header = self.header_factory(
            name, _CHARSET_OF_WORD.sub(_with_known_charset, _BETWEEN_WORDS.sub(r"\1", line))
        )
        if not hasattr(header, "addresses"):
            return header
        mailboxes = list(read_addresses([source]))
        parsed = [address.addr_spec for address in header.addresses if address.username]
        if parsed == [address.addr_spec for address in mailboxes]:
            return header
        return self.header_factory(name, mailboxes) if mailboxes else line

    def fold(self, name: str, value: str) -> str:
        return decode_text(self.fold_binary(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        try:
            return super().fold_binary(name, value)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 (folding parses the header)
            line = f"{name}: {one_line(value)}{self.linesep}"
            return line.encode("utf-8", "surrogateescape")


def sources(part: EmailMessage, header: str) -> Iterator[str]:
    """The source of each header of a name on a single line.

    Bytes beyond ASCII are surrogates, unless `decode_bytes` has decoded them.
    """
    return (_single_line(source) for name, source in part.raw_items() if name.lower() == header.lower())


def decode_bytes(part: EmailMessage, charset: str) -> None:
    """Decode headers of `charset` that are not UTF-8, and headers of ISO-2022-JP without a label.

    The headers are still written as in the source. `charset` is Python's name, or "". A charset in which
    ASCII is other bytes, such as UTF-16, is none of headers.
    """
    try:
        is_of_headers = charset and _PRINTABLE.encode().decode(charset) == _PRINTABLE
    except ValueError:
        is_of_headers = False
    for _, source in part.raw_items():
        # An encoded word has a charset of its own.
        if not isinstance(source, _Source) or "=?" in source:
            continue
        encoded = source.encode("utf-8", "surrogateescape")
        text: str = source
        if is_jis(encoded):
            text = decode_text(encoded)
        elif is_of_headers:
            try:
                encoded.decode()
            except ValueError:
                text = decode_text(encoded, charset)
        if text is not source and "\ufffd" not in text:
            source.text = text


def is_damaged(source: str) -> bool:
    """Whether a source has U+FFFD, or bytes that are not UTF-8."""
    if source.isascii():
        return False
    return "\ufffd" in source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _single_line(source: str) -> str:
    text = str(getattr(source, "text", source))
    return LINE_ENDS.sub("", text) if "\n" in text or "\r" in text else text


def beginning(part: EmailMessage, name: str) -> str:
    """The first characters of the first header of a name, on a single line; "" without the header.

    `name` is in lower case. The characters have a type or a disposition. The header's structure costs ten
    times as much, and a type is read many times.
    """
    sources = (source for header, source in part.raw_items() if header.lower() == name)
    return one_line(next(sources, "")[:LONGEST_BEGINNING])


def _with_known_charset(charset: re.Match[str]) -> str:
    """Python's name for the charset of an encoded word, else "unknown-8bit".

    `email._encoded_words.decode` uses the same fallback. A "=" at the end may begin the next word.
    """
    name, _, language = charset[0].partition("*")
    return (
        (codec_name(name) or "unknown-8bit") + (language and f"*{language}") + "=" * charset[0].endswith("=")
    )


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
