"""The addresses in a header, whether well-formed or malformed."""

import re
from collections.abc import Iterable, Iterator
from email.headerregistry import Address
from typing import Any

from events_app.inbound.text.headers import one_line, words

#: The most addresses to read from the headers of a name.
MOST = 10_000

# Unclosed quotes and brackets end with the text.
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
    """The addresses in the headers, without group names; malformed mailboxes are left out."""
    for header in headers:
        parsed = [address for address in getattr(header, "addresses", ()) if address.username]
        for address in parsed:
            yield _address(address.display_name, address.username, address.domain)
        if parsed:
            continue
        for name, spec in _mailboxes(str(header)):
            match = _SPEC.fullmatch(spec)
            if match and match[1]:
                yield _address(words(_unquoted(name)), _unquoted(match[1]), match[2] or "")


def _mailboxes(text: str) -> Iterator[tuple[str, str]]:
    """The name and the address of each mailbox, without mailboxes of two addresses.

    `email.utils.getaddresses` would recurse at each colon, in a time growing with the square of the text.
    """
    name, specs = "", list[str]()
    for token in _TOKEN.finditer(text + ","):
        group = token.lastgroup
        if group == "spec":
            specs.append(token["spec"])
        elif group in ("quoted", "words"):
            name += token[0]
        elif group == "mark":
            if token["mark"] != ":" and len(specs) <= 1 and (name or specs):
                yield (name, specs[0].rpartition(":")[2]) if specs else ("", name)
            name, specs = "", []


def _unquoted(text: str) -> str:
    return _PAIR.sub(r"\1", text.strip().removeprefix('"').removesuffix('"'))


def _address(name: str, username: str, domain: str) -> Address:
    # Address raises ValueError for a line break.
    return Address(one_line(name), one_line(username), one_line(domain))
