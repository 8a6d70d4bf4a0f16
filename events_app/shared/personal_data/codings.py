r"""Finds an address in bytes, in any coding of its characters.

A character may stand for itself, in either letter case, or be escaped: by a percent sign (%40) or by
quoted-printable (=40), by JSON (\u0040), or by HTML (&#64; &#x40; &commat;), also repeatedly (%2540). Soft
line breaks and the zero bytes of UTF-16 may stand between the characters. The local part may be in quotes.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from html.entities import html5
from typing import NamedTuple

from events_app.shared.addresses import unquoted

# Between two characters: soft line breaks, also in a JSON string, and the zero bytes of UTF-16 and UTF-32.
_GAP = rb"(?:=\r?\n|=(?:\\+r)?\\+n|\0)*"

# Within an escape: quoted-printable may break a line in a percent-encoded text.
_SOFT_BREAK = rb"(?:=\r?\n)?"

_NAMES: dict[str, list[str]] = {}
for _name, _character in html5.items():
    if _name.endswith(";"):
        _NAMES.setdefault(_character, []).append(_name)

_SPACE, _OTHER = " ", "\ufffd"

# An escaped character: percent-encoded or quoted-printable, JSON, HTML. Quoted-printable has capital digits.
_ESCAPE = (
    rb"(?:%(?:25)*(?P<percent>[0-9a-fA-F]{2})|=(?P<quoted>[0-9A-F]{2})|\\+u(?P<json>[0-9a-fA-F]{4})"
    rb"|&(?:amp;)*#(?P<decimal>[0-9]{1,7});|&(?:amp;)*#[xX](?P<hex>[0-9a-fA-F]{1,6});|&(?P<name>[A-Za-z]{2,8});"
    rb"|\\+(?P<control>[nrtbf]))"
)
_escape_before = re.compile(_ESCAPE + rb"\Z")
# The bytes of a character of UTF-8, percent-encoded or quoted-printable.
_bytes_before = re.compile(rb"(?:(?:%(?:25)*|=)[0-9a-fA-F]{2})+\Z")
_byte = re.compile(rb"([0-9a-fA-F]{2})(?=[%=]|\Z)")
_escape_after = re.compile(_ESCAPE)
_skipped = re.compile(rb"(?:=\r?\n|=(?:\\+r)?\\+n)+")
_skipped_before = re.compile(_skipped.pattern + rb"\Z")

# SendGrid's return path names the recipient: bounces+1234-5e6f-ann=example.com@...
_return_path = re.compile(rb"bounces(?:\+|%2B|=2B)[0-9]+(?:-[0-9a-f]{4})?-\Z", re.IGNORECASE)

_BACKSLASH = ord("\\")

#: Bytes of the longest escape that is looked at beside an address.
_BESIDE = 24


class Found(NamedTuple):
    """A place of the address."""

    start: int
    end: int
    #: The sign between local part and domain, as it is coded.
    sign: bytes


class AddressPattern:
    """Searches for an address, given in the comparable form, and in spellings of the domain."""

    def __init__(self, addresses: Iterable[str]) -> None:
        addresses = list(addresses)
        local, _, _ = addresses[0].rpartition("@")
        domains = [address.rpartition("@")[2] for address in addresses]
        sign = rb"|".join(_character_forms(sign, any_case=False) for sign in "@=")
        # Passes most content fast: Python's re skips to the bytes with which the alternatives begin.
        firsts = {domain[0] for domain in domains}
        first = re.escape(
            "".join(firsts | {each.upper() for each in firsts}).encode("utf-8", "surrogatepass")
        )
        coded = rb"%=&\\\0"
        self._signs = re.compile(
            rb"@[" + first + coded + rb"]|=[34=\\\r\n" + first + coded + rb"]|%[234=]|\\u00[34]|&[#ac=eACE]"
        )
        spelled = rb"|".join(_text(domain, any_case=True) for domain in domains)
        self._end = re.compile(rb"(?P<sign>" + sign + rb")" + _GAP + rb"(?:" + spelled + rb")", re.IGNORECASE)
        content = unquoted(local)
        quote = rb"\\*(?:" + _character_forms('"', any_case=False) + rb")"
        in_quotes = (
            quote
            + _GAP
            + _GAP.join(rb"\\*(?:" + _character_forms(each, any_case=False) + rb")" for each in content)
            + _GAP
            + quote
        )
        plain = rb"" if content != local else rb"|" + _text(local, any_case=False)
        self._local = re.compile(rb"(?:" + in_quotes + plain + rb")" + _GAP + rb"\Z", re.IGNORECASE)
        #: Bytes that a coded local part can have. Further ones of a wasteful coding are not searched.
        self._longest = 64 + 16 * len(content.encode("utf-8", "surrogatepass"))
        # The byte before the sign: the last letter itself, or the end of an escape, quote or gap.
        last = content[-1:].encode("utf-8", "surrogatepass")[-1:]
        self._last = frozenset(last.lower() + last.upper() + b"\n\0\"'\\;nN0123456789abcdefABCDEF")
        if content[-1:] and not content.isascii():
            self._last = frozenset(range(256))
        self._ends_in_ascii = all(domain[-1:].isascii() for domain in domains)
        self._begins_in_ascii = content[:1].isascii()

    def may_be_in(self, content: bytes) -> bool:
        """False, fast, for most content without the address."""
        return self._signs.search(content) is not None

    def find(self, content: bytes) -> Iterator[Found]:
        """The places of the address. A longer address that contains the address is none."""
        for sign in self._signs.finditer(content):
            at = sign.start()
            while content[at] == _BACKSLASH and at and content[at - 1] == _BACKSLASH:
                at -= 1
            if at == 0 or content[at - 1] not in self._last:
                continue
            end = self._end.match(content, at)
            if end is None:
                continue
            local = self._local.search(content, max(0, at - self._longest), at)
            if local is None:
                continue
            found = Found(local.start(), end.end(), end["sign"])
            if self._is_whole(content, found):
                yield found

    def _is_whole(self, content: bytes, found: Found) -> bool:
        wide = b"\0" in content[found.start : found.end]
        before = content[max(0, found.start - _BESIDE) : found.start]
        after = content[found.end : found.end + _BESIDE]
        if wide:
            before, after = before.replace(b"\0", b""), after.replace(b"\0", b"")
        if self._goes_on(after):
            return False
        if found.sign != b"@" and _first_character(found.sign)[0] == "=":
            return bool(_return_path.search(before))
        return not self._begins_before(before, content[found.start : found.start + _BESIDE])

    def _begins_before(self, before: bytes, first: bytes) -> bool:
        """Whether the local part begins before its first bytes."""
        if _is_within_escape(before, first):
            return True
        if first.lstrip(b"\\")[:1] == b'"' or _first_character(first)[0] == '"':
            return False
        character, rest = _last_character(before)
        if character in "+_-" or _is_ascii_letter_or_digit(character):
            return True
        if character in ".'":
            earlier, _ = _last_character(rest)
            return _is_ascii_letter_or_digit(earlier) or unicodedata.category(earlier)[0] == "L"
        if character.isascii():
            return False
        # Text without spaces between words may stand before an address: Chinese, Japanese, Thai.
        category = unicodedata.category(character)
        return category[0] in "LMN" and not (self._begins_in_ascii and category == "Lo")

    def _goes_on(self, after: bytes) -> bool:
        """Whether the domain goes on: with a letter, or after a dot or a hyphen."""
        character, rest = _first_character(after)
        is_joined = character in ".-"
        while character in ".-":
            character, rest = _first_character(rest)
        if _is_ascii_letter_or_digit(character):
            return True
        return character.isalnum() and (is_joined or not self._ends_in_ascii)


def _text(text: str, any_case: bool) -> bytes:
    return _GAP.join(rb"(?:" + _character_forms(character, any_case) + rb")" for character in text)


def _character_forms(character: str, any_case: bool) -> bytes:
    """A pattern of the character in all codings, for IGNORECASE.

    With `any_case` letters outside of ASCII match in both cases too.
    """
    variants = [character]
    if character.isascii() or any_case:
        variants += [other for other in (character.lower(), character.upper()) if len(other) == 1]
    forms: dict[bytes, None] = {}
    if not character.isascii() or not character.isalpha():
        for variant in variants:
            _add_forms(forms, variant)
        return rb"|".join(forms)
    # Both cases differ in one digit. In one form, as the compiler needs time for each.
    lower, upper = character.lower(), character.upper()
    digits = rb"[%d%d]" % (ord(upper) >> 4, ord(lower) >> 4)
    last = b"%X" % (ord(lower) & 15)
    return rb"|".join(
        (
            lower.encode(),
            rb"(?:%(?:25)*|=)" + _SOFT_BREAK + digits + _SOFT_BREAK + last,
            rb"\\+u00" + digits + last,
            rb"&(?:amp;)*#(?:0*(?:%d|%d)|x0*%b%b);" % (ord(upper), ord(lower), digits, last),
        )
    )


def _add_forms(forms: dict[bytes, None], character: str) -> None:
    encoded = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    forms[_GAP.join(re.escape(bytes([byte])) for byte in encoded)] = None
    digits = (b"%02X" % byte for byte in encoded)
    forms[
        _GAP.join(rb"(?:%(?:25)*|=)" + _SOFT_BREAK + each[:1] + _SOFT_BREAK + each[1:] for each in digits)
    ] = None
    forms[rb"".join(rb"\\+u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2))] = None
    forms[rb"&(?:amp;)*#(?:0*%d|x0*%x);" % (ord(character), ord(character))] = None
    for name in _NAMES.get(character, ()):
        forms[rb"&(?:amp;)*" + re.escape(name.encode())] = None
    if not character.isascii() and ord(character) < 256:
        forms[re.escape(bytes([ord(character)]))] = None
        forms[rb"(?:%%|=|\\+x)%02x" % ord(character)] = None


def _is_within_escape(before: bytes, first: bytes) -> bool:
    r"""Whether these first bytes belong to an escape: as "n" in "\n", or "3d" in "%3d"."""
    backslashes = len(before) - len(before.rstrip(b"\\"))
    if backslashes % 2 and first[:1] in b"bfnrtux":
        return True
    return before.endswith(b"%") and bool(re.match(rb"[0-9a-fA-F]{2}", first))


def _last_character(before: bytes) -> tuple[str, bytes]:
    """The last character, unescaped, and the bytes before it. A space at the beginning of the content."""
    if skipped := _skipped_before.search(before):
        before = before[: skipped.start()]
    if not before:
        return _SPACE, b""
    if escape := _escape_before.search(before):
        character = _unescaped(escape)
        if character == _OTHER and (escapes := _bytes_before.search(before)):
            encoded = bytes.fromhex("".join(each.decode() for each in _byte.findall(escapes[0])))
            character = encoded.decode(errors="replace")[-1:]
        return character, before[: escape.start()]
    for length in (1, 2, 3, 4):
        try:
            return before[-length:].decode(), before[:-length]
        except UnicodeDecodeError:
            continue
    return _OTHER, before[:-1]


def _first_character(after: bytes) -> tuple[str, bytes]:
    """The first character, unescaped, and the bytes after it. A space at the end of the content."""
    if skipped := _skipped.match(after):
        after = after[skipped.end() :]
    if not after:
        return _SPACE, b""
    if escape := _escape_after.match(after):
        return _unescaped(escape), after[escape.end() :]
    for length in (1, 2, 3, 4):
        try:
            return after[:length].decode(), after[length:]
        except UnicodeDecodeError:
            continue
    return _OTHER, after[1:]


def _unescaped(escape: re.Match[bytes]) -> str:
    kind, digits = escape.lastgroup, escape[escape.lastgroup or 0]
    if kind == "control":
        return _SPACE
    if kind == "name":
        return html5.get(f"{digits.decode()};", _OTHER)[0]
    number = int(digits, 10 if kind == "decimal" else 16)
    # A byte of several of a character, or a surrogate.
    is_partial = number > 127 and kind in ("percent", "quoted")
    return _OTHER if is_partial or number > 0x10FFFF else chr(number)


def _is_ascii_letter_or_digit(character: str) -> bool:
    return character.isascii() and character.isalnum()
