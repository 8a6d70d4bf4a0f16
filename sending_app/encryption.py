"""Encryption of the content of mails in the database, with the keys of OUTBOX_ENCRYPTION_KEYS.

The first key encrypts, and every key decrypts. Content in plain text and encrypted content may stand in
neighbouring rows. Encrypted content is `_MARK`, the digest of the key, and a token of Fernet
(github.com/fernet/spec) as bytes instead of base64, which would take a third more space.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken

from sending_app import conf

# No JSON begins with a NUL, and no kind of file begins so. `encrypt` escapes any other content that does.
_MARK = b"\0sendgrid-outbox\0"
_DIGEST = 8

# In place of the digest, before plain content that begins with the mark.
_ESCAPE = b"plain..."

#: Bytes of the beginning of content that name its key.
MARKED = len(_MARK) + _DIGEST


class Undecryptable(ValueError):
    """No key of OUTBOX_ENCRYPTION_KEYS decrypts the content."""

    def __init__(self) -> None:
        super().__init__(
            f"No key of {conf.ENCRYPTION_KEYS.name} decrypts the content. "
            "Add the key that encrypted the content to the end of the list"
        )


def encrypt(content: bytes) -> bytes:
    """The content as the database keeps it: in plain text without a key.

    Raises ImproperlyConfigured for an unusable key.
    """
    for digest, fernet in _fernets(conf.ENCRYPTION_KEYS.get()).items():
        return _MARK + digest + urlsafe_b64decode(fernet.encrypt(content))
    return _MARK + _ESCAPE + content if content.startswith(_MARK) else content


def decrypt(stored: bytes | memoryview) -> bytes:
    """The content. Raises Undecryptable, and ImproperlyConfigured for an unusable key."""
    content = bytes(stored)
    digest = key_of(content)
    if digest is None:
        return content.removeprefix(_MARK + _ESCAPE)
    fernet = _fernets(conf.ENCRYPTION_KEYS.get()).get(digest)
    if fernet is None:
        raise Undecryptable
    try:
        return fernet.decrypt(urlsafe_b64encode(content[MARKED:]))
    except InvalidToken:  # the row was damaged
        raise Undecryptable from None


def key_of(beginning: bytes) -> bytes | None:
    """The digest of the key that encrypted the content; None for plain text. `MARKED` bytes are enough."""
    digest = beginning[len(_MARK) : MARKED]
    return digest if beginning.startswith(_MARK) and digest != _ESCAPE else None


def digests() -> Sequence[bytes]:
    """The digests of all keys, that of the encrypting key first."""
    return list(_fernets(conf.ENCRYPTION_KEYS.get()))


@lru_cache(maxsize=8)
def _fernets(secrets: tuple[str, ...]) -> dict[bytes, Fernet]:
    """The keys by their digests, in their order."""
    return {
        hashlib.sha256(urlsafe_b64decode(secret)).digest()[:_DIGEST]: Fernet(secret) for secret in secrets
    }
