"""Encodes, signs and posts what SendGrid sends to webhooks.

SendGrid separates compact JSON objects by a comma and CRLF and ends the body with CRLF. It signs the
timestamp and the body: Twilio docs, "Getting Started with the Event Webhook Security Features". Inbound Parse
signs its posts the same way ("Securing your Inbound Parse Webhook").
"""

import base64
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import requests
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fake_sendgrid.oauth import AccessTokens, OAuthClient, asks_for_new_token

#: The content type of a post of events.
_EVENTS_CONTENT_TYPE = "application/json;charset=utf-8"


def event_batch(events: Iterable[Mapping[str, Any] | bytes]) -> bytes:
    """Return the body of a post of `events`. An event given as bytes stays as it is."""
    elements = [
        event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
        for event in events
    ]
    return b"[" + b",\r\n".join(elements) + b"]\r\n"


class WebhookSender:
    """Posts to webhooks with one signing key, and with the tokens of a client of OAuth if there is one."""

    #: None: posts have no token.
    tokens: AccessTokens | None = None

    def __init__(self, private_key: EllipticCurvePrivateKey | None = None) -> None:
        self._private_key = private_key or generate_private_key(SECP256R1())
        der = self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        #: In the form of SendGrid's settings page.
        self.public_key = base64.b64encode(der).decode()

    @classmethod
    def from_key_file(cls, file: Path) -> Self:
        """Read the private key from `file` (PEM), or create it there. Raises ValueError or OSError."""
        if not file.exists():
            sender = cls()
            pem = sender._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
                kept.write(pem)
            return sender
        key = load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise ValueError(f"{file} holds no private key of the curve P-256")
        return cls(key)

    def authorize(self, client: OAuthClient | None) -> None:
        """Post with this client's tokens from now on, or without a token."""
        if client is None:
            self.tokens = None
        elif self.tokens is None or self.tokens.client != client:
            self.tokens = AccessTokens(client)

    def headers(
        self, body: bytes, timestamp: int | None = None, *, content_type: str = _EVENTS_CONTENT_TYPE
    ) -> dict[str, str]:
        """Return the headers that SendGrid sends with `body`, the signature among them."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        signature = self._private_key.sign(at.encode() + body, ECDSA(SHA256()))
        return {
            "User-Agent": "SendGrid Event API" if content_type == _EVENTS_CONTENT_TYPE else "Sendlib/1.0",
            "Content-Type": content_type,
            "X-Twilio-Email-Event-Webhook-Timestamp": at,
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        }

    def post(
        self,
        url: str,
        body: bytes,
        timeout: float = 10,
        session: requests.Session | None = None,
        *,
        content_type: str = _EVENTS_CONTENT_TYPE,
    ) -> requests.Response:
        """Raises requests.RequestException.

        Events are posted again with a new token when the answer asks for it. A mail is not: SendGrid does not
        document this for Inbound Parse, where a 4xx loses the mail.
        """
        if session is None:
            with requests.Session() as own_session:
                return self.post(url, body, timeout, own_session, content_type=content_type)
        headers, tokens = self.headers(body, content_type=content_type), self.tokens
        token = tokens.get(session) if tokens else ""
        response = _post(session, url, body, timeout, headers, token)
        if tokens and content_type == _EVENTS_CONTENT_TYPE and asks_for_new_token(response):
            tokens.forget(token)
            response = _post(session, url, body, timeout, headers, tokens.get(session))
        return response


def _post(  # noqa: PLR0913, PLR0917 (a request has as many parts)
    session: requests.Session, url: str, body: bytes, timeout: float, headers: Mapping[str, str], token: str
) -> requests.Response:
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return session.post(
        url, data=body, headers={**headers, **authorization}, timeout=timeout, allow_redirects=False
    )
