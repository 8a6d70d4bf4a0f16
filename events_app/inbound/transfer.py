"""The content of a part, as it was before it was encoded for transfer."""

import quopri
from base64 import b64decode
from contextlib import suppress
from email.message import EmailMessage
from typing import cast

#: Characters of uuencoded content that are decoded: the standard library takes seventy bytes for each.
MOST_UUENCODED = 1_000_000

_UUENCODED = ("x-uuencode", "uuencode", "uue", "x-uue")

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


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
        return _decode(data)
    if encoding == "quoted-printable":
        return quopri.decodestring(data)
    if encoding in _UUENCODED and len(data) <= MOST_UUENCODED:
        with suppress(ValueError, LookupError):
            return cast(bytes, EmailMessage.get_payload(part, decode=True))
    return data


def _decode(data: bytes) -> bytes:
    """Base64 without what is none, as far as the first "="; whole bytes only, where it breaks off."""
    digits, _, _ = data.translate(None, _NOT_BASE64).partition(b"=")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))
