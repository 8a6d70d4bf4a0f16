"""Bytes as text, and the content of a part as bytes: whatever a mail claims, neither fails."""

import codecs
import pkgutil
import quopri
import re
from base64 import b64decode
from contextlib import suppress
from email.message import EmailMessage
from encodings import __path__ as _codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import cast

from events_app.shared.database import clean

_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,39}", re.ASCII)

#: The names of Python's own codecs. A name of a stranger's making must not reach `codecs.lookup`, which keeps
#: each spelling of a known name, nor `encodings.search_function`, whose `_cache` keeps the unknown ones too.
_MODULES = {module.name: module.name for module in pkgutil.iter_modules(_codecs)} | aliases

#: Codecs that are no charset of any mail: they warn, or take time that grows with the square of the text.
_NOT_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}

#: Places of one text that may be damaged; of a short one: so many, and one more for each fifty bytes. A place
#: costs more than a hundred characters that are not damaged, and a mail can have a thousand texts.
MOST_GAPS = 100_000
MOST_GAPS_OF_SHORT = 1000

#: Bytes that are decoded before the gaps are counted.
_PIECE = 1000

#: Characters of uuencoded content that are decoded: the standard library takes seventy bytes for each.
MOST_UUENCODED = 1_000_000

_UUENCODED = ("x-uuencode", "uuencode", "uue", "x-uue")

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


def decode(data: bytes, claimed: str = "") -> str:
    """`data` as text that any database takes; never fails.

    In the claimed charset, else in UTF-8, else in windows-1252, which most text is that claims
    something else. Text that is cut or damaged in a few places keeps its charset and gets U+FFFD there.
    """
    charsets = [*dict.fromkeys((known(claimed), "utf-8"))]
    for charset in filter(None, charsets):
        with suppress(ValueError):
            return clean(data.decode(charset))
    for charset in filter(None, charsets):
        text = _with_gaps(data, charset)
        if _is_mostly_right(text):
            return clean(text)
    with suppress(ValueError):
        return clean(data.decode("windows-1252"))
    return clean(data.decode("latin-1"))  # it has all 256 bytes, windows-1252 lacks five


def known(claimed: str) -> str | None:
    """Python's own name of the charset; None where it has none that is fit for mail."""
    if not _NAME.fullmatch(claimed.strip()):
        return None
    name = normalize_encoding(claimed.strip()).lower()
    module = _MODULES.get(name) or _MODULES.get(name.replace(".", "_"))
    if module is None:
        return None
    try:
        found = codecs.lookup(module)
        b"-".decode(module)
    except LookupError:
        return None  # a codec that makes no text, such as "zip", or of another system
    except ValueError:
        pass  # one of two bytes a character
    return None if found.name in _NOT_CHARSETS else found.name


def _with_gaps(data: bytes, charset: str) -> str:
    """`data` with U+FFFD where it is damaged; that alone where it is damaged nearly everywhere."""
    if charset == "utf-7":
        # With each piece its decoder begins again at the last "+", which can stand before all of them.
        return data.decode(charset, "replace") if len(data) <= _PIECE else "\ufffd"
    decoder = codecs.getincrementaldecoder(charset)("replace")
    pieces, gaps = [], 0
    most = min(MOST_GAPS, MOST_GAPS_OF_SHORT + len(data) // 50)
    with suppress(ValueError):  # the codec knows only how to be strict
        for start in range(0, len(data), _PIECE):
            end = start + _PIECE
            pieces.append(decoder.decode(data[start:end], end >= len(data)))
            gaps += pieces[-1].count("\ufffd")
            if gaps > most:
                break
        else:
            return "".join(pieces)
    return "\ufffd"


def _is_mostly_right(text: str) -> bool:
    """Whether damage is the exception among what is not ASCII: in a wrong charset it is the rule."""
    gaps = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return gaps * 2 <= foreign


def payload(part: EmailMessage) -> str | None:
    """What stands in the source of a part; None where other parts do.

    `EmailMessage.get_payload` decodes it by the charset it claims, whatever is asked for: 30 MB that are no
    UTF-7 took five seconds.
    """
    found = part._payload  # type: ignore[attr-defined]
    return found if isinstance(found, str) else None


def content(part: EmailMessage) -> bytes:
    """The bytes of a part that has no parts in it; never fails. What cannot be decoded stays as it is."""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    data = (payload(part) or "").encode("utf-8", "surrogateescape")
    if encoding == "base64":
        return _decode_base64(data)
    if encoding == "quoted-printable":
        return quopri.decodestring(data)
    if encoding in _UUENCODED and len(data) <= MOST_UUENCODED:
        with suppress(ValueError, LookupError):
            return cast(bytes, EmailMessage.get_payload(part, decode=True))
    return data


def _decode_base64(data: bytes) -> bytes:
    """Base64 without what is none, as far as the first "="; whole bytes only, where it breaks off."""
    digits, _, _ = data.translate(None, _NOT_BASE64).partition(b"=")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))
