"""Addresses as people write them become addresses as SendGrid takes them.

Most are plain, and patterns read those, a thousand in 2 ms. The standard library's parser takes 140 for
them, more than all else a large merge costs.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from email import errors
from email.policy import default as policy
from email.utils import quote
from typing import Any, NamedTuple

import idna
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from sending_app.compose.plain import is_unicode
from sending_app.exceptions import InvalidAddress
from sending_app.mail import Address

# Dots may stand anywhere before the @: mail providers have given out such addresses.
_ADDRESS = r"[\w!#$%&'*+/=?^`{|}~.-]+@[\w-]+(?:\.[\w-]+)*"
# No "=": an encoded word (=?utf-8?...?=) may be in it, which is the parser's to read.
_NAME = r"""([^()<>\[\]:;@\\,"=\x00-\x1f\x7f]*)|"([^"\\=\x00-\x1f\x7f]*)\""""
_bare = re.compile(_ADDRESS)
_named = re.compile(rf"(?:{_NAME}) *<({_ADDRESS})>")

_needs_no_quotes = re.compile(r"[\w !#$%&'*+/?^`{|}~.-]+")
_control = re.compile(r"[\x00-\x1f\x7f]")

#: What the parser complains of, and reads well: a dot in a name, a letter that is not ASCII ...
HARMLESS = (errors.ObsoleteHeaderDefect, errors.NonASCIILocalPartDefect)
#: ... and an encoded word in quotes or close to another, as many mail programs write them.
HARMLESS_WORD = "encoded"


class Mailbox(NamedTuple):
    """One address, without its name as the caller wrote it and as it goes to SendGrid."""

    name: str
    given: str
    wire: str

    @property
    def address(self) -> Address:
        return {"email": self.wire, "name": self.name} if self.name else {"email": self.wire}


def parse(values: Iterable[Any], field: str, encode: Callable[[str], str]) -> list[Mailbox]:
    """The addresses in header texts such as "Bob <b@x.example>", each of which may hold several.

    Empty texts are passed over, as Django does. Raises InvalidAddress.
    """
    return [mailbox for value in values if value for mailbox in _mailboxes(str(value), field, encode)]


def write(address: Address) -> str:
    """The header text that `parse` reads the address from."""
    name = address.get("name")
    if not name:
        return address["email"]
    if not _needs_no_quotes.fullmatch(name):
        name = f'"{quote(name)}"'
    return f"{name} <{address['email']}>"


def encoder(setting: str | Callable[[str], str]) -> Callable[[str], str]:
    """What makes a domain ASCII: "idna2008", "idna2003", "uts46", "none", a function or a path to one.

    It is asked for domains that are not ASCII already. Raises ImproperlyConfigured.
    """
    if callable(setting):
        return setting
    if setting in _ENCODERS:
        return _ENCODERS[setting]
    known = f"It takes {', '.join(map(repr, _ENCODERS))}, a function, or a dotted path to one."
    try:
        found = import_string(setting)
    except (ImportError, ValueError) as error:  # ValueError: nothing before the dot
        raise ImproperlyConfigured(f"IDNA_ENCODER: {error}. {known}") from None
    if not callable(found):
        raise ImproperlyConfigured(f"IDNA_ENCODER: {setting!r} is no function. {known}")
    return found  # type: ignore[no-any-return]


def _mailboxes(text: str, field: str, encode: Callable[[str], str]) -> Iterable[Mailbox]:
    if _bare.fullmatch(text) and text.isascii():
        return (Mailbox("", text, text),)
    try:
        return list(_read(text, encode))
    except _Wrong as wrong:
        why = str(wrong)
    raise InvalidAddress(f"Invalid address {text!r} in {field}: {why}.")


class _Wrong(Exception):
    """Why a text is no address."""


def _read(text: str, encode: Callable[[str], str]) -> Iterator[Mailbox]:
    if _bare.fullmatch(text):
        yield Mailbox("", text, _wire(text, encode))
    elif found := _named.fullmatch(text):
        plain, quoted, address = found.groups()
        name = (plain or "").strip() or quoted or ""
        _check(name)
        yield Mailbox(name, address, _wire(address, encode))
    else:
        _check(text)
        for parsed in _parse(text):
            # An encoded word can hold what the text itself must not.
            _check(parsed.display_name + parsed.addr_spec)
            yield Mailbox(parsed.display_name, parsed.addr_spec, _wire(parsed.addr_spec, encode))


def _check(text: str) -> None:
    if _control.search(text):
        raise _Wrong("it has a line break or another control character")
    if not text.isascii() and not is_unicode(text):
        raise _Wrong("it has half of a surrogate pair")


def _parse(text: str) -> Sequence[Any]:
    try:
        header: Any = policy.header_factory("To", text)
    except Exception:  # noqa: BLE001 (the parser has failed in many ways on odd text)
        raise _Wrong("it cannot be read as one") from None
    if not all(address.username and address.domain for address in header.addresses):
        raise _Wrong("it lacks an @ with something on either side, or quotes round a name with a comma")
    defects = [
        defect
        for defect in header.defects
        if not isinstance(defect, HARMLESS) and HARMLESS_WORD not in str(defect)
    ]
    if defects or not header.addresses:
        raise _Wrong(str(defects[0]) if defects else "there is none in it")
    found: Sequence[Any] = header.addresses
    return found


def _wire(address: str, encode: Callable[[str], str]) -> str:
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{encode(domain)}"
    except ValueError as error:
        raise _Wrong(f"its domain cannot be encoded: {error}") from None


def _idna2008(domain: str) -> str:
    # The letters it knows are small and composed; what people type is made so first (RFC 5895).
    return idna.encode(unicodedata.normalize("NFC", domain.lower())).decode("ascii")


def _idna2003(domain: str) -> str:
    return domain.encode("idna").decode("ascii")


def _uts46(domain: str) -> str:
    return idna.encode(domain, uts46=True).decode("ascii")


def _as_it_is(domain: str) -> str:
    return domain


_ENCODERS: dict[str, Callable[[str], str]] = {
    "idna2008": _idna2008,
    "idna2003": _idna2003,
    "uts46": _uts46,
    "none": _as_it_is,
}
