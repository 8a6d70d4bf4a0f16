"""Patterns of recipients' addresses, for receivers of a part of the inbound mail."""

import re
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import translate
from typing import TypeAlias
from unicodedata import normalize

import idna

#: An address in which `*` stands for any text, or a compiled regular expression.
Pattern: TypeAlias = str | re.Pattern[str]

# `translate` also gives "?" and "[" a meaning, but "a@[192.0.2.1]" is an address.
_OTHER_WILDCARD = re.compile(r"[?\[]")

# An address without brackets, space and other addresses, perhaps with a quoted local part. The part before
# or behind the "@" may be left to "*".
_LOCAL = r'(?:"(?:[^"\\]|\\.)*+"|[^\s"@<>(),;:\\])++'
_DOMAIN = r'(?:\[[^\[\]\s"@<>(),;]++\]|[^\s"@<>(),;:\\]++)'
_PATTERN = re.compile(rf"{_LOCAL}@{_DOMAIN}|(?=[^*]*+\*){_LOCAL}", re.DOTALL)


class Route:
    """The patterns of a receiver. A route takes a recipient whose whole address matches any pattern.

    A domain beyond ASCII matches in Unicode and in the ASCII of DNS ("xn--..."), whichever the pattern and
    the recipient have. A regular expression sees the recipient as written.
    """

    def __init__(self, patterns: Pattern | Iterable[Pattern]) -> None:
        """Raises ValueError and TypeError for patterns that can match no address."""
        if isinstance(patterns, str | bytes) or not isinstance(patterns, Iterable):
            self.patterns: tuple[Pattern, ...] = (patterns,)
        else:
            self.patterns = tuple(patterns)
        if not self.patterns:
            raise ValueError("A route needs at least one address or pattern.")
        self._regexes: list[re.Pattern[str]] = []
        self._patterns_in_unicode: list[re.Pattern[str]] = []
        for pattern in self.patterns:
            if isinstance(pattern, str):
                if not _PATTERN.fullmatch(pattern):
                    is_local = pattern and "@" not in pattern and _PATTERN.fullmatch(f"{pattern}@*")
                    whole = f"{pattern}@*" if is_local else "support@example.com"
                    advice = f"Write a whole address without a name and brackets, such as {whole!r}."
                    raise ValueError(f"{pattern!r} matches no address. {advice}")
                escaped = _OTHER_WILDCARD.sub(r"[\g<0>]", _in_unicode(pattern))
                # ASCII: with IGNORECASE alone, the Kelvin sign equals "k".
                regex = re.compile(translate(escaped), re.IGNORECASE | re.ASCII)
                self._patterns_in_unicode.append(regex)
            elif isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                self._regexes.append(pattern)
            else:
                raise TypeError(
                    f"A route is an address, a pattern or a regular expression of text: {pattern!r}."
                )

    def takes(self, recipient: str) -> bool:
        """Whether any pattern matches the whole address."""
        in_unicode = _in_unicode(recipient)
        return any(regex.fullmatch(recipient) for regex in self._regexes) or any(
            regex.fullmatch(in_unicode) for regex in self._patterns_in_unicode
        )


def _in_unicode(address: str) -> str:
    """The address with its domain in Unicode and in lower case; a label that is no domain's stays."""
    local, at, domain = address.rpartition("@")
    if domain.isascii() and "xn--" not in domain.lower():
        return address
    labels = normalize("NFC", domain.lower()).split(".")
    for index, label in enumerate(labels):
        if label.startswith("xn--") and len(label) <= 63:  # as in DNS
            with suppress(UnicodeError):
                labels[index] = idna.decode(label)
    return f"{local}{at}{'.'.join(labels)}"
