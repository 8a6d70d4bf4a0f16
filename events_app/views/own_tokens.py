"""Access tokens of our own for SendGrid: signed with the secret key, and kept nowhere.

A token names the webhooks to open. The client's id and secret are part of the signature's salt, so a token
ends with the client's entry in `WEBHOOK_OAUTH_CLIENTS`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner

#: Seconds after which SendGrid is to ask for a new token.
LIFETIME = 3600

#: The names of the webhooks.
SCOPES = ("inbound", "tracking")


class OwnToken(NamedTuple):
    scopes: frozenset[str]
    expired: bool


def issue(client: str, scopes: Iterable[str]) -> str:
    """A token for the client "id:secret"."""
    return _signer(client).sign("+".join(sorted(scopes)))


def read_token(token: str, clients: Iterable[str], max_age: int | None) -> OwnToken | None:
    """The token; None for a token of another client. `max_age` is in seconds."""
    for client in clients:
        signer = _signer(client)
        try:
            return OwnToken(_scopes(signer.unsign(token, max_age=max_age)), expired=False)
        except SignatureExpired:
            return OwnToken(_scopes(signer.unsign(token)), expired=True)
        except BadSignature:
            continue
    return None


def _scopes(text: str) -> frozenset[str]:
    return frozenset(text.split("+"))


def _signer(client: str) -> TimestampSigner:
    # A colon, Django's default, is not a character of a bearer token (RFC 6750, 2.1).
    return TimestampSigner(sep=".", salt=f"events_app.oauth:{client}")
