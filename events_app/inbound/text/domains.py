"""Whether two domains belong together, as far as their names tell."""

import unicodedata

import idna


def are_aligned(one: str, other: str) -> bool:
    """Whether the domains are equal, or one is a subdomain of the other, in any letter case and encoding.

    This is DMARC's relaxed alignment (RFC 7489, 3.1) without a list of public suffixes: two subdomains of the
    same domain are not aligned here. A domain of a single label is aligned only with itself.
    """
    names = sorted((_ascii(one), _ascii(other)), key=len)
    if not names[0]:
        return False
    return names[0] == names[1] or ("." in names[0] and names[1].endswith("." + names[0]))


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
