"""Rules for addresses that a mailbox can have."""

import re
import unicodedata

from sending_app.compose.plain import control_characters, is_unicode
from sending_app.mail import MAX_LOCAL_PART

#: Octets of a domain, and of a label, its part between dots (RFC 1035, 2.3.4, without the root).
MAX_DOMAIN = 253
MAX_LABEL = 63

#: Unicode's categories without a shape: control, format, unassigned, private, surrogates, separators.
_SHAPELESS = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})

# Blank letters, marks and symbols, most of Unicode's Default_Ignorable_Code_Point.
_blank = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# Words of some scripts need joiners. Only the encoder of a domain knows where (RFC 5892, A.1 and A.2).
_JOINERS = "\u200c\u200d"

_punctuation = re.compile(r"[!-,/:-@\[-^`{-~]")


#: Domains of a machine's own mail. Django's default sender is webmaster@localhost.
_LOCAL_DOMAINS = frozenset({"localhost", "localhost.localdomain"})


class AddressFault(Exception):
    """Says why a text is not an address."""


def check_text(text: str) -> None:
    """Raise AddressFault for text that no header may have."""
    if control_characters.search(text):
        raise AddressFault("it has a line break or another control character")
    if not text.isascii() and not is_unicode(text):
        raise AddressFault("it has half of a surrogate pair")


def check_characters(local: str, domain: str) -> None:
    """Raise AddressFault for a character that nobody sees in the address: nobody typed that character."""
    for part, allowed in ((local, " "), (domain, _JOINERS)):
        for character in "" if part.isascii() else part:
            shapeless = unicodedata.category(character) in _SHAPELESS or _blank.match(character)
            if shapeless and character not in allowed:
                name = unicodedata.name(character, "a character without a name")
                raise AddressFault(f"it has {name} (U+{ord(character):04X})")


def check_mailbox(local: str, domain: str) -> None:
    """Raise AddressFault for an address that no mailbox can have. `local` is without quotes."""
    if not local:
        raise AddressFault("it has nothing between the quotes before its @")
    if len(local.encode()) > MAX_LOCAL_PART:
        raise AddressFault(f"it has more than {MAX_LOCAL_PART} octets before its @ (RFC 5321, 4.5.3.1.1)")
    if domain.startswith("["):  # support article 360000019762 of SendGrid in Japan
        raise AddressFault("its domain is an IP address, and SendGrid sends to none")
    labels = domain.split(".")
    if not all(labels):
        raise AddressFault("its domain has a dot at an end, or two dots in a row")
    if len(labels) < 2:
        raise AddressFault("its domain has no dot; only a complete name is found (RFC 5321, 2.3.5)")
    if labels[-1].isdecimal():
        raise AddressFault("its domain ends in a number, and no top-level domain is a number (RFC 3696, 2)")
    if match := _punctuation.search(domain):
        raise AddressFault(f"its domain has {match[0]!r}")
    # "none" as the encoder leaves other text than ASCII. A domain in ASCII has at least as many characters.
    if len(domain) > MAX_DOMAIN:
        raise AddressFault(f"its domain is longer than {MAX_DOMAIN} octets (RFC 1035, 2.3.4)")
    for label in labels:
        if len(label) > MAX_LABEL:
            raise AddressFault(f"a part of its domain is longer than {MAX_LABEL} octets (RFC 1035, 2.3.4)")
        if label[0] == "-" or label[-1] == "-":
            raise AddressFault("a part of its domain begins or ends with a hyphen (RFC 1123, 2.1)")


def is_local(address: str) -> bool:
    """Whether the address is of a machine's own mail: nobody can verify such a sender at SendGrid."""
    _, at, domain = address.lower().rpartition("@")
    return bool(at) and (domain in _LOCAL_DOMAINS or domain.endswith(".localhost"))  # RFC 6761, 6.3
