"""Compare addresses. SendGrid's events, callers and operators may spell an address differently."""

import re
import string
from email.utils import quote

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# Characters that need no quotes (RFC 5322 3.2.3, RFC 6531 3.3).
_ATEXT = r"[^\s\x00-\x1f\x7f\"(),.:;<>@\[\\\]]"
_dot_atom = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_atoms_and_dots = re.compile(rf"(?:{_ATEXT}|\.)+")
# What an address with several spellings has: quotes, spaces, odd dots.
_spelled = re.compile(r'[" ]|\.[.@]|^\.')
_escaped = re.compile(r"\\(.)", re.DOTALL)


def comparable(address: str) -> str:
    """The form of an address in which equal addresses are equal text.

    ASCII letters are in lower case, and `local_part` decides about quotes. Other letters keep their case: "ß"
    and "ss" may be two mailboxes. Text that is not an address has a form too.
    """
    lower = _lower(address).strip()
    if not _spelled.search(lower):
        return lower
    local, at, domain = lower.rpartition("@")
    return f"{local_part(local)}{at}{without_spaces(domain)}"


def mask(address: str) -> str:
    """The address with only the first character of its local part: "a…@example.com"."""
    local, at, domain = address.rpartition("@")
    if not at:
        return "…" if address else ""
    first = local.lstrip('"')[:1] if len(local) > 2 else ""
    return f"{first}…@{domain}"


def wanted_beginning(address: str) -> str | None:
    """The beginning of comparable addresses that an operator writes with a * at the end.

    None without the *: a whole address. Empty if nothing is before the *.
    """
    address = address.strip()
    return _lower(address[:-1]) if address.endswith("*") else None


def for_search(term: str, by_part: bool) -> str:
    """The term of a search box as an address. Without a whole domain, the term is a beginning.

    Without `by_part` the term is a whole address: beginnings would tell a masked address by letters.
    """
    term = term.strip()
    if not by_part:
        while term.endswith("*"):  # spaces may be between
            term = term.rstrip("*").rstrip()
        return term
    _, at, domain = term.rpartition("@")
    return term if (at and "." in domain) or term.endswith("*") else f"{term}*"


def _lower(address: str) -> str:
    return (address.lower() if address.isascii() else address.translate(_LOWER)).replace("\t", " ")


def local_part(written: str) -> str:
    """The part of an address before the @, in quotes only if RFC 5321 (4.1.2) requires quotes.

    "a..b" requires quotes. Needless quotes go: some mail servers refuse all quotes (SendGrid's Japanese
    support article 360000019762).
    """
    written = written.strip(" ")
    content = unquoted(written)
    if content == written:
        content = without_spaces(written)
        if not _atoms_and_dots.fullmatch(content):
            return content
    return content if _dot_atom.fullmatch(content) else f'"{quote(content)}"'


def unquoted(written: str) -> str:
    """The content of a quoted string; other text unchanged."""
    if len(written) < 2 or written[0] != '"' or written[-1] != '"':
        return written
    return unescaped(written[1:-1])


def unescaped(content: str) -> str:
    """The content of a quoted string or a comment, without the backslashes before characters."""
    return _escaped.sub(r"\1", content)


def without_spaces(written: str) -> str:
    """Without spaces at the ends and beside dots, which RFC 5322 (4.4) allows."""
    return ".".join(part.strip(" ") for part in written.split("."))
