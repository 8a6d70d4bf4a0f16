"""Links with which recipients unsubscribe from a stream of mail. Nothing is stored: a link has its data.

The data is encrypted, because URLs get into logs and into the histories of browsers.
"""

import base64
import binascii
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from sending_app import conf

#: The path of the unsubscribe page, below the prefix of `sending_app.urls`. The token follows.
PATH = "unsubscribe/"

_SALT = "sending_app.unsubscribe_links"


class InvalidLink(Exception):
    """The token is not one of ours: a character is wrong or missing, or SECRET_KEY has changed."""


class ExpiredLink(InvalidLink):
    """The mail of the link is older than UNSUBSCRIBE_DAYS."""


@dataclass(frozen=True, slots=True)
class Link:
    #: As sent to SendGrid.
    address: str
    #: `message.unsubscribe_scope`.
    scope: str
    #: The id of the mail's personalization.
    message_id: str


def make_url(link: Link, prefix: str) -> str:
    """The URL of a link made now. `prefix` is the URL of `sending_app.urls`, with a slash at its end."""
    # An address has no NUL.
    content = uuid.UUID(link.message_id).bytes + f"{link.address}\0{link.scope}".encode()
    # Without padding: some programs end a URL at the "=".
    token = _fernet().encrypt(content).rstrip(b"=").decode()
    return f"{prefix}{PATH}{token}"


def read_token(token: str) -> Link:
    """The link of a token. Raises InvalidLink and ExpiredLink."""
    try:
        raw = base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True)
        padded = base64.urlsafe_b64encode(raw)
        content = _fernet().decrypt(padded)
    except (binascii.Error, ValueError, InvalidToken):
        raise InvalidLink from None
    # Base64 has several spellings of the last byte, and a decoder may pass over other characters.
    if padded.rstrip(b"=").decode() != token:
        raise InvalidLink
    # The layout of a Fernet token: a version of a byte, then eight bytes of seconds since 1970.
    made_at = int.from_bytes(raw[1:9], "big")
    if made_at + conf.UNSUBSCRIBE_DAYS.get() * 86400 < time.time():
        raise ExpiredLink
    address, _, scope = content[16:].decode().partition("\0")
    return Link(address, scope, str(uuid.UUID(bytes=content[:16])))


def _fernet() -> MultiFernet:
    return _fernet_of(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=4)
def _fernet_of(*secrets: str) -> MultiFernet:
    """Encrypts with the first secret, and decrypts with each."""
    keys = (salted_hmac(_SALT, "key", secret, algorithm="sha256").digest() for secret in secrets)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
