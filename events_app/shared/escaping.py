"""Makes a stranger's text safe to print: it cannot forge a line, control a terminal or reorder the text."""

import re

# Characters of a label of a domain and of a local part, also percent-encoded or escaped by JSON. Python's \\w
# has no combining marks, so any character that is not ASCII counts.
_LABEL = r"\w\\\x80-\U0010ffff-"
_LOCAL = _LABEL + r".!#$%&*+?^`{|}~"

#: The local part of an address whose domain has a dot. A match begins at the first character of a word, and a
#: quoted local part is short, so that the search takes linear time.
_LOCAL_PART = re.compile(
    rf"""
    (?: "[^\n]{{1,64}}?"                        # a quoted text
      | (?<![{_LOCAL}]) (?<!\w')
        (?: [\w.-]+ \+ [\w.+-]* = )?           # SendGrid's return path: bounces+1-ann=example.com@...
        (?: [{_LOCAL}] | (?<=\w)'(?=\w) )+     # with an apostrophe within: o'brien
    )
    ( @ | %(?:25)*40 )                         # percent-encoded, also twice
    (?= \[? [{_LABEL}]* [.\u3002\uff0e\uff61] [{_LABEL}] )
    """,
    re.VERBOSE,
)


def printable(text: str) -> str:
    r"""`text` with control characters escaped, but for \n and \t."""
    return _escaped(text, but="\n\t")


def one_line(text: str) -> str:
    r"""`text` with control characters escaped, also \n and \t."""
    return _escaped(text, but="")


def without_addresses(text: str) -> str:
    """`text` with the local parts of mail addresses replaced: "***@example.com"."""
    return _LOCAL_PART.sub(r"***\1", text) if "@" in text or "40" in text else text


def _escaped(text: str, but: str) -> str:
    # Not printable in Python's sense are control characters, separators of lines and paragraphs (U+0085,
    # U+2028), format characters such as the bidirectional controls, and lone surrogates.
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in but else char.encode("unicode_escape").decode() for char in text
    )
