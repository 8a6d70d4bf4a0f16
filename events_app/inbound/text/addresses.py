"""The addresses in a header, be it well-formed or not."""

import re
from collections.abc import Iterable, Iterator
from email.headerregistry import Address
from typing import Any

from events_app.inbound.text.headers import one_line, words

#: Addresses to read of all headers of a name.
MOST = 10_000

# Quotes and brackets that are not closed end with the text.
_TOKEN = re.compile(
    r"""
      (?P<quoted> "(?:[^"\\]|\\.)*+ (?:"|\\?\Z) )
    | (?P<comment> \((?:[^()\\]|\\.)*+ (?:\)|\\?\Z)? )
    | <(?P<spec> [^<>]*+ )>?
    | (?P<mark> [,;:] )
    | (?P<words> [^"(<,;:]++ )
    """,
    re.DOTALL | re.VERBOSE,
)
_SPEC = re.compile(r'\s*+("(?:[^"\\]|\\.)*+"|[^\s"]*?)\s*+(?:@\s*+([^\s"@]*+))?\s*+', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)


def read(headers: Iterable[Any]) -> Iterator[Address]:
    """The addresses in the headers, without the groups around them; what is none of any kind is left out."""
    for header in headers:
        yield from _structured(header) or _loose(str(header))


def _structured(header: Any) -> list[Address]:
    found = getattr(header, "addresses", ())
    return [_address(each.display_name, each.username, each.domain) for each in found if each.username]


def _loose(text: str) -> Iterator[Address]:
    for name, spec in _split(text):
        found = _SPEC.fullmatch(spec)
        if found and found[1]:
            yield _address(words(_unquoted(name)), _unquoted(found[1]), found[2] or "")


def _split(text: str) -> Iterator[tuple[str, str]]:
    """The name and the address of each mailbox; a mailbox that has two addresses is left out.

    Not `email.utils.getaddresses`: it calls itself at each colon, and its time grows with the square of the
    text.
    """
    name, specs = "", list[str]()
    for token in _TOKEN.finditer(text + ","):
        kind = token.lastgroup
        if kind == "spec":
            specs.append(token["spec"])
        elif kind in ("quoted", "words"):
            name += token[0]
        elif kind == "mark":
            if token["mark"] != ":" and len(specs) <= 1 and (name or specs):
                yield (name, specs[0].rpartition(":")[2]) if specs else ("", name)
            name, specs = "", []


def _unquoted(text: str) -> str:
    return _PAIR.sub(r"\1", text.strip().removeprefix('"').removesuffix('"'))


def _address(name: str, username: str, domain: str) -> Address:
    return Address(one_line(name), one_line(username), one_line(domain))
