"""Addresses with an internationalized domain, which has two spellings."""

import unicodedata

import idna


def in_ascii(address: str) -> str:
    """The comparable address with its domain in ASCII ("xn--..."). A domain that has no such form stays."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        encoded = idna.encode(unicodedata.normalize("NFC", domain.lower())).decode("ascii")
    except (idna.IDNAError, ValueError):
        return address
    return f"{local}{at}{encoded}"


def in_unicode(address: str) -> str:
    """The comparable address with its domain in Unicode. A domain that has no such form stays."""
    local, at, domain = address.rpartition("@")
    if "xn--" not in domain:
        return address
    try:
        return f"{local}{at}{idna.decode(domain)}"
    except (idna.IDNAError, ValueError):
        return address
