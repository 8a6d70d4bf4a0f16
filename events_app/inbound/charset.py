"""Bytes and the charset somebody claims for them, as text: whatever comes in, text comes out."""

import codecs
import re
from contextlib import suppress

from events_app.decode import clean

# Python has codecs under other names too, and remembers each name it was ever asked for.
_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,39}", re.ASCII)

#: Codecs that are no charset of any mail: they warn, or take time that grows with the square of the text.
_NOT_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}


def decode(data: bytes, claimed: str = "") -> str:
    """`data` as text that any database takes; never fails.

    In the claimed charset, else in UTF-8, else in windows-1252, which most text is that claims
    something else. Text that is cut or damaged in a few places keeps its charset and gets U+FFFD there.
    """
    charsets = [*dict.fromkeys((_known(claimed), "utf-8"))]
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


def _known(claimed: str) -> str | None:
    name = claimed.strip()
    if not _NAME.fullmatch(name):
        return None
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    if found.name in _NOT_CHARSETS:
        return None
    try:
        b"-".decode(name)
    except LookupError:
        return None  # a codec that makes no text, such as "zip"
    except ValueError:
        pass  # one of two bytes a character
    return found.name


def _with_gaps(data: bytes, charset: str) -> str:
    with suppress(ValueError):
        return data.decode(charset, "replace")
    return "\ufffd"  # the codec knows only how to be strict


def _is_mostly_right(text: str) -> bool:
    """Whether damage is the exception among what is not ASCII: in a wrong charset it is the rule."""
    gaps = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return gaps * 2 <= foreign
