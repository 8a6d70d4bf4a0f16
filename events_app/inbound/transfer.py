"""The content of a part, as it was before it was encoded for transfer."""

from base64 import b64decode
from email.message import EmailMessage
from typing import cast

#: Characters of uuencoded content that are decoded: the standard library takes seventy bytes for each.
MOST_UUENCODED = 1_000_000

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


def content(part: EmailMessage) -> bytes:
    """The bytes of a part that has no parts in it; never fails. What cannot be decoded stays as it is."""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    payload = part.get_payload()
    if isinstance(payload, str) and (encoding == "base64" or _is_too_long(encoding, payload)):
        data = payload.encode("utf-8", "surrogateescape")
        return _decode(data) if encoding == "base64" else data
    try:
        return cast(bytes | None, part.get_payload(decode=True)) or b""
    except (ValueError, LookupError):
        return str(payload).encode("utf-8", "surrogateescape")


def _is_too_long(encoding: str, payload: str) -> bool:
    return encoding in ("x-uuencode", "uuencode", "uue", "x-uue") and len(payload) > MOST_UUENCODED


def _decode(data: bytes) -> bytes:
    """Base64 without what is none, as far as the first "="; whole bytes only, where it breaks off."""
    digits, _, _ = data.translate(None, _NOT_BASE64).partition(b"=")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))
