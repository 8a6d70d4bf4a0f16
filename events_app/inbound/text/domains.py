"""Which domain may speak for another domain, as far as their names tell."""

import unicodedata

import idna


def is_same_or_above(domain: str, other: str) -> bool:
    """Whether `domain` is `other`, or `other` is a subdomain of `domain`. The letter case does not matter.

    A domain may be written in Unicode or in ASCII ("xn--..."). A domain of a single label is above no domain.
    """
    above, below = _ascii(domain), _ascii(other)
    return bool(above) and (above == below or ("." in above and below.endswith("." + above)))


def _ascii(domain: str) -> str:
    """The domain as in DNS; "" for text that is no domain."""
    name = domain.strip().removesuffix(".").lower()
    if len(name) > 253:
        return ""
    if name.isascii():
        return name
    try:
        return idna.encode(unicodedata.normalize("NFC", name)).decode("ascii")
    except (idna.IDNAError, ValueError):
        return ""
