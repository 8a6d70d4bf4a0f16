"""Parse addresses as people write them into addresses for SendGrid.

Patterns read plain addresses: a thousand in 2 ms. `address_syntax` reads the others, about 25 times slower.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from email.charset import Charset
from email.utils import quote
from typing import Any, NamedTuple

import idna
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from events_app.shared.addresses import local_part, unquoted
from sending_app.compose.address_rules import (
    MAX_DOMAIN,
    AddressFault,
    check_characters,
    check_mailbox,
    check_text,
)
from sending_app.compose.address_syntax import read_addresses
from sending_app.exceptions import InvalidAddress
from sending_app.mail import Address

# An address that fits all rules, without the length of the domain.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PLAIN = rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?![0-9]){_LABEL}"
# No "=" and no tab: encoded words (=?utf-8?...?=) and tabs are read piece by piece.
_NAME = r"""([^()<>\[\]:;@\\,"=\t]*)|"([^"\\=\t]*)" *"""
_bare = re.compile(_PLAIN)
_named = re.compile(rf"(?:{_NAME})<({_PLAIN})>")

_needs_no_quotes = re.compile(r"[\w !#$%&'*+/?^`{|}~.-]+")


class Mailbox(NamedTuple):
    """A name, the address as the caller wrote the address, and the address for SendGrid."""

    name: str
    given: str
    wire: str

    @property
    def address(self) -> Address:
        return {"email": self.wire, "name": self.name} if self.name else {"email": self.wire}


def parse_addresses(
    texts: Iterable[Any], field: str, encode: Callable[[str], str], *, sender: bool = False
) -> list[Mailbox]:
    """Parse header texts such as "Bob <b@x.example>". A text may hold several addresses.

    Skips empty texts, as Django does. White space at the ends of a text does not count. Every address but a
    sender's must be an address that a mailbox can have: SendGrid takes almost any sender (django-anymail,
    "Limitations and quirks"). Raises InvalidAddress.
    """
    return [mailbox for text in texts if text for mailbox in _mailboxes(str(text), field, encode, sender)]


def write(address: Address) -> str:
    """Write an address as header text. `parse_addresses` reads the text back."""
    name = address.get("name")
    if not name:
        return address["email"]
    if "=?" in name:  # would be read as an encoded word
        name = Charset("utf-8").header_encode(name)
    elif not _needs_no_quotes.fullmatch(name):
        name = f'"{quote(name)}"'
    return f"{name} <{address['email']}>"


def encoder(setting: str | Callable[[str], str]) -> Callable[[str], str]:
    """Find the function that makes a domain ASCII.

    The setting is "idna2008", "idna2003", "uts46", "none", a function, or a dotted path to a function.
    Domains that are ASCII already skip the function. Raises ImproperlyConfigured.
    """
    if callable(setting):
        return setting
    if setting in _ENCODERS:
        return _ENCODERS[setting]
    known = f"It takes {', '.join(map(repr, _ENCODERS))}, a function, or a dotted path to one."
    try:
        encode = import_string(setting)
    except (ImportError, ValueError) as error:  # ValueError: nothing before the dot
        raise ImproperlyConfigured(f"IDNA_ENCODER: {error}. {known}") from None
    if not callable(encode):
        raise ImproperlyConfigured(f"IDNA_ENCODER: {setting!r} is no function. {known}")
    return encode  # type: ignore[no-any-return]


def _mailboxes(text: str, field: str, encode: Callable[[str], str], sender: bool) -> Iterable[Mailbox]:
    stripped = text.strip()  # a cell of a table, or pasted text, may end in a tab, a line end or U+00A0
    if _bare.fullmatch(stripped) and len(stripped) <= MAX_DOMAIN:
        return (Mailbox("", stripped, stripped),)
    try:
        return list(_read(stripped, encode, sender))
    except AddressFault as error:
        why = str(error)
    raise InvalidAddress(f"Invalid address {text!r} in {field}: {why}.")


def _read(text: str, encode: Callable[[str], str], sender: bool) -> Iterator[Mailbox]:
    check_text(text)
    if (match := _named.fullmatch(text)) and len(match[3]) <= MAX_DOMAIN:
        plain, quoted, address = match.groups()
        yield Mailbox((plain or "").strip() or quoted or "", address, address)
        return
    for name, given, local, domain in read_addresses(text):
        check_characters(local, domain)
        ascii_domain = _encoded(domain, encode)
        if not sender:
            check_mailbox(unquoted(local), ascii_domain)
        yield Mailbox(name, given, f"{local if sender else local_part(local)}@{ascii_domain}")


def _encoded(domain: str, encode: Callable[[str], str]) -> str:
    if domain.isascii():
        return domain
    # Encoding may take quadratic time. Letters that compose shorten a domain, but not so much.
    if len(domain) > 4 * MAX_DOMAIN:
        raise AddressFault(f"its domain is longer than {MAX_DOMAIN} octets (RFC 1035, 2.3.4)")
    try:
        return encode(domain)
    except ValueError as error:
        raise AddressFault(f"its domain cannot be encoded: {error}") from None


_ENCODERS: dict[str, Callable[[str], str]] = {
    # IDNA 2008 knows only lowercase, composed letters, so typed text is mapped first (RFC 5895).
    "idna2008": lambda domain: idna.encode(unicodedata.normalize("NFC", domain.lower())).decode("ascii"),
    "idna2003": lambda domain: domain.encode("idna").decode("ascii"),
    "uts46": lambda domain: idna.encode(domain, uts46=True).decode("ascii"),
    "none": str,
}
