"""A person to erase: an address, and the text in which the address stands."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from events_app.shared.addresses import comparable
from events_app.shared.personal_data.base64_text import Runs
from events_app.shared.personal_data.codings import AddressPattern, Found
from events_app.shared.personal_data.domains import in_ascii, in_unicode
from events_app.shared.personal_data.pseudonyms import pseudonym

Content = TypeVar("Content", str, bytes)

# Base64 may stand in base64: the attachment of an attached mail.
_DEPTH = 2


@dataclass(frozen=True)
class Person:
    """A person, known by an address."""

    #: As an operator wrote the address.
    written: str

    @cached_property
    def address(self) -> str:
        """The comparable address, as columns have it."""
        return comparable(self.written)

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The comparable addresses of both spellings of an internationalized domain."""
        ascii_address = in_ascii(self.address)
        return frozenset({self.address, ascii_address, in_unicode(ascii_address)})

    @cached_property
    def pseudonym(self) -> str:
        """The address that stands for this one. Raises ImproperlyConfigured without a key."""
        return pseudonym(self.written)

    @property
    def is_address(self) -> bool:
        """Whether the text is an address. Other text is nowhere found."""
        local, at, domain = self.address.rpartition("@")
        return bool(local.strip('"') and at and domain)

    def is_in(self, content: str | bytes) -> bool:
        """Whether the address stands in the content, in any coding (`codings`), also in base64.

        Compressed and encrypted content is not searched.
        """
        return self.is_address and self._is_in(_as_bytes(content), _DEPTH)

    def redact(self, content: Content) -> Content:
        """The content with the pseudonym in place of the address; the same object without the address.

        The codings stay valid: JSON stays JSON. In base64 the address is overwritten by as many bytes, so
        that the pseudonym is cut to the length. Raises ImproperlyConfigured without a key.
        """
        if not self.is_in(content):
            return content
        redacted = _as_bytes(content)
        while self._is_in(redacted, _DEPTH):
            redacted = self._replaced(redacted, self._pseudonym_in_place)
            redacted = self._in_base64(redacted, _DEPTH)
        if isinstance(content, bytes):
            return redacted
        return redacted.decode("utf-8", "surrogatepass")

    @cached_property
    def _pattern(self) -> AddressPattern:
        return _pattern(self.addresses)

    @cached_property
    def _runs(self) -> Runs:
        shortest = min(len(address.encode("utf-8", "surrogatepass")) for address in self.addresses)
        return Runs((4 * shortest + 2) // 3)

    def _is_in(self, content: bytes, depth: int) -> bool:
        if self._pattern.may_be_in(content) and any(True for _ in self._pattern.find(content)):
            return True
        if not depth or len(content) < self._runs.shortest:
            return False
        decoded = self._runs.decoded(content, may_be_escaped=depth == _DEPTH)
        return any(self._is_in(each, depth - 1) for each in decoded)

    def _replaced(self, content: bytes, replacement: Callable[[bytes, Found], bytes]) -> bytes:
        parts: list[bytes] = []
        last = 0
        for found in self._pattern.find(content):
            place = content[found.start : found.end]
            parts += [content[last : found.start], replacement(place, found)]
            last = found.end
        return b"".join((*parts, content[last:]))

    def _pseudonym_in_place(self, place: bytes, found: Found) -> bytes:
        if b"\0" in place:  # UTF-16 or UTF-32
            zeros = place[1:].partition(place[1:].lstrip(b"\0"))[0]
            return zeros.join(bytes([byte]) for byte in self.pseudonym.encode())
        return self.pseudonym.encode().replace(b"@", found.sign)

    def _overwritten(self, content: bytes, depth: int) -> bytes | None:
        if not self._is_in(content, depth):
            return None
        content = self._replaced(content, self._as_many_bytes)
        if depth:
            content = self._in_base64(content, depth)
        return content

    def _in_base64(self, content: bytes, depth: int) -> bytes:
        return self._runs.change(
            content, lambda decoded: self._overwritten(decoded, depth - 1), may_be_escaped=depth == _DEPTH
        )

    def _as_many_bytes(self, place: bytes, _: Found) -> bytes:
        filler = iter(self.pseudonym.partition("@")[0].encode().ljust(len(place), b"-"))
        return bytes(byte and next(filler) for byte in place)


@lru_cache(maxsize=32)
def _pattern(addresses: frozenset[str]) -> AddressPattern:
    # To compile a pattern takes as long as to search hundreds of events.
    return AddressPattern(sorted(addresses))


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
