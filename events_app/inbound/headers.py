"""The headers of mail from anywhere, by the structured parser of the standard library where it can read them.

On malformed headers that parser raises nearly anything (IndexError, AttributeError, RecursionError), and
on some long ones it takes time that grows with the square of their length.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import collapse_rfc2231_value
from typing import Any, cast

from celery.exceptions import SoftTimeLimitExceeded

from events_app.decode import clean
from events_app.inbound.charset import decode

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

# A name with spaces or brackets and without quotes, which structured parsing cuts at the first of them.
_BARE_NAMES = {
    name: re.compile(rf'(?:[^"]|"(?:[^"\\]|\\.)*")*?;\s*{name}\s*=\s*([^\s";][^";]*)', re.IGNORECASE)
    for name in ("filename", "name")
}

# The space between two encoded words is none (RFC 2047, 6.2). The standard library leaves it in names.
_WORD = r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?="
_BETWEEN_WORDS = re.compile(rf"({_WORD})\s+(?={_WORD})")

_LINE_ENDS = re.compile(r"\r\n?|\n")


class _Source(str):
    """A header as it came, and what was read in it: reading a mail asks for some headers again and again."""

    __slots__ = ("read",)

    read: Any


class TolerantPolicy(EmailPolicy):
    """Reads what can be read, and writes each header of the source as it came."""

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
        try:
            return self.header_factory(name, _BETWEEN_WORDS.sub(r"\1", line))
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
    if "=?" in text and len(text) <= LONGEST:
        try:
            text = str(EmailPolicy().header_factory("Subject", text))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 (see above)
            return one_line(text)
    return one_line(text)


def file_name(part: EmailMessage) -> str | None:
    """The name its sender gave a part, path and all, on one line; None where there is none."""
    for header, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        found = _parameter(part, header, parameter)
        if found is not None:
            return words(found)
    return None


def _parameter(part: EmailMessage, header: str, parameter: str) -> str | None:
    bare = _BARE_NAMES[parameter].match((text(part, header) or "")[:LONGEST])
    if bare:
        return bare[1].strip()
    params = getattr(part[header], "params", None)
    if params is not None:
        found = params.get(parameter)
        return found if found is None else str(found)
    found = part.get_param(parameter, None, header)
    return None if found is None else collapse_rfc2231_value(found)
