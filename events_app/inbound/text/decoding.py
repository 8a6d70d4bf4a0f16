"""Bytes to text, and the content of a mail's part to bytes. Malformed mail never raises."""

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

#: The names of Python's own codecs. An arbitrary name from a mail must not reach `codecs.lookup`, which
#: caches every spelling of a known name, nor `encodings.search_function`, whose `_cache` keeps unknown names.
_MODULES = {module.name: module.name for module in pkgutil.iter_modules(_codecs)} | aliases

#: Codecs no mail uses as a charset: they warn, or their time grows with the square of the text.
_NOT_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}

#: The most damaged places of a text: 1,000 and one more for each fifty bytes, and never more than 100,000.
#: A damaged place costs more than a hundred sound characters, and a mail can have a thousand texts.
MOST_GAPS = 100_000
MOST_GAPS_OF_SHORT = 1000

#: Bytes decoded between two counts of the damaged places.
_PIECE = 1000

#: The most characters of uuencoded content to decode: the standard library uses seventy bytes for each.
MOST_UUENCODED = 1_000_000

_UUENCODED = ("x-uuencode", "uuencode", "uue", "x-uue")

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


def decode(data: bytes, declared: str = "") -> str:
    """Decode to text for any database; never raises.

    The charset is the declared charset, else UTF-8, else windows-1252, the usual charset of mislabelled text.
    Text with a few damaged places keeps its charset, with U+FFFD at these places.
    """
    charsets = [charset for charset in dict.fromkeys((known(declared), "utf-8")) if charset]
    for charset in charsets:
        with suppress(ValueError):
            return clean(data.decode(charset))
    for charset in charsets:
        text = _with_gaps(data, charset)
        # A right charset with damage has few gaps among its characters beyond ASCII; a wrong one has many.
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if text.count("\ufffd") * 2 <= beyond_ascii:
            return clean(text)
    with suppress(ValueError):
        return clean(data.decode("windows-1252"))
    return clean(data.decode("latin-1"))  # decodes all 256 bytes; windows-1252 lacks five


def known(declared: str) -> str | None:
    """Python's own name of the charset; None for an unknown charset or a codec unfit for mail."""
    if not _NAME.fullmatch(declared.strip()):
        return None
    name = normalize_encoding(declared.strip()).lower()
    module = _MODULES.get(name) or _MODULES.get(name.replace(".", "_"))
    if module is None:
        return None
    try:
        codec = codecs.lookup(module)
        b"-".decode(module)
    except LookupError:
        return None  # a codec to bytes, such as "zip", or a codec of another operating system
    except ValueError:
        pass  # a charset of two bytes a character
    return None if codec.name in _NOT_CHARSETS else codec.name


def _with_gaps(data: bytes, charset: str) -> str:
    """The text with U+FFFD at damaged places. With too many damaged places, a single U+FFFD."""
    if charset == "utf-7":
        # For each piece the decoder reads again from the last "+". The time could grow with the square
        # of the text.
        return data.decode(charset, "replace") if len(data) <= _PIECE else "\ufffd"
    decoder = codecs.getincrementaldecoder(charset)("replace")
    pieces, gaps = [], 0
    most_gaps = min(MOST_GAPS, MOST_GAPS_OF_SHORT + len(data) // 50)
    with suppress(ValueError):  # some codecs raise in spite of "replace"
        for start in range(0, len(data), _PIECE):
            end = start + _PIECE
            pieces.append(decoder.decode(data[start:end], end >= len(data)))
            gaps += pieces[-1].count("\ufffd")
            if gaps > most_gaps:
                break
        else:
            return "".join(pieces)
    return "\ufffd"


def payload(part: EmailMessage) -> str | None:
    """A part's content as in the source; None for a part with inner parts.

    `EmailMessage.get_payload` always decodes by the declared charset: 30 MB falsely labelled UTF-7 took five
    seconds.
    """
    source = part._payload  # type: ignore[attr-defined]
    return source if isinstance(source, str) else None


def content(part: EmailMessage) -> bytes:
    """The decoded bytes of a part without inner parts; undecodable content unchanged. Never raises."""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    encoded = (payload(part) or "").encode("utf-8", "surrogateescape")
    if encoding == "base64":
        # Up to the first "=", without foreign characters; without the last character of a broken-off group.
        digits, _, _ = encoded.translate(None, _NOT_BASE64).partition(b"=")
        if len(digits) % 4 == 1:
            digits = digits[:-1]
        return b64decode(digits + b"=" * (-len(digits) % 4))
    if encoding == "quoted-printable":
        return quopri.decodestring(encoded)
    if encoding in _UUENCODED and len(encoded) <= MOST_UUENCODED:
        with suppress(ValueError, LookupError):
            return cast(bytes, EmailMessage.get_payload(part, decode=True))
    return encoded
