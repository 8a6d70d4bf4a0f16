"""The addresses in a header, be it well-formed or not."""

from collections.abc import Iterable
from email.headerregistry import Address
from email.utils import getaddresses
from typing import Any

from events_app.inbound.headers import one_line, words


def read(headers: Iterable[Any]) -> list[Address]:
    """All addresses in the headers, groups taken apart; what is none of any kind is left out."""
    return [address for header in headers for address in _structured(header) or _loose(str(header))]


def _structured(header: Any) -> list[Address]:
    found = getattr(header, "addresses", ())
    return [_address(each.display_name, each.username, each.domain) for each in found if each.username]


def _loose(text: str) -> list[Address]:
    pairs = getaddresses([text])
    split = [(name, *_split(spec)) for name, spec in pairs]
    return [_address(words(name), username, domain) for name, username, domain in split if username]


def _split(spec: str) -> tuple[str, str]:
    username, at, domain = spec.rpartition("@")
    return (username, domain) if at else (spec, "")


def _address(name: str, username: str, domain: str) -> Address:
    return Address(one_line(name), one_line(username), one_line(domain))
