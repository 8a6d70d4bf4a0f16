"""Patterns of recipients' addresses, for receivers of a part of the inbound mail."""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import TypeAlias

#: An address in which `*` stands for any text (as in `fnmatch`), or a compiled regular expression.
Pattern: TypeAlias = str | re.Pattern[str]


class Route:
    """The patterns of a receiver. A route takes a recipient whose whole address matches any pattern."""

    def __init__(self, patterns: Pattern | Iterable[Pattern]) -> None:
        """Raises ValueError and TypeError for patterns that can match no address."""
        self.patterns = (patterns,) if isinstance(patterns, str | re.Pattern) else tuple(patterns)
        if not self.patterns:
            raise ValueError("A route needs at least one address or pattern.")
        self._regexes: list[re.Pattern[str]] = []
        for pattern in self.patterns:
            if isinstance(pattern, str):
                if "@" not in pattern and "*" not in pattern:
                    advice = f"Write the whole address, or {pattern + '@*'!r}."
                    raise ValueError(f"{pattern!r} matches no address. {advice}")
                # ASCII: with IGNORECASE alone, the Kelvin sign equals "k".
                self._regexes.append(re.compile(translate(pattern), re.IGNORECASE | re.ASCII))
            elif isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                self._regexes.append(pattern)
            else:
                raise TypeError(
                    f"A route is an address, a pattern or a regular expression of text: {pattern!r}."
                )

    def takes(self, recipient: str) -> bool:
        """Whether any pattern matches the whole address."""
        return any(regex.fullmatch(recipient) for regex in self._regexes)
