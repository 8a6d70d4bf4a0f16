"""SendGrid's side of the Event Webhook: a batch's bytes, its signature, the post.

The form on the wire (a comma and CRLF between compact objects, CRLF at the end) and what is signed
are SendGrid's: Twilio docs, "Getting Started with the Event Webhook Security Features". What Inbound Parse
posts is signed alike ("Securing your Inbound Parse Webhook").
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

#: The type of a batch.
_EVENTS_CONTENT_TYPE = "application/json;charset=utf-8"


def event_batch(events: Iterable[Mapping[str, Any] | bytes]) -> bytes:
    """The body of a post of `events`; bytes stand in it as they are."""
    elements = [
        one if isinstance(one, bytes) else json.dumps(one, separators=(",", ":")).encode() for one in events
    ]
    return b"[" + b",\r\n".join(elements) + b"]\r\n"


class WebhookSender:
    """One Event Webhook with signing on."""

    def __init__(self, private_key: EllipticCurvePrivateKey | None = None) -> None:
        self._private_key = private_key or generate_private_key(SECP256R1())
        der = self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        #: As SendGrid's settings page shows it.
        self.public_key = base64.b64encode(der).decode()

    @classmethod
    def from_key_file(cls, file: Path) -> Self:
        """The one whose private key is in `file`, as PEM; made on first use. Raises ValueError, OSError."""
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

    def headers(
        self, body: bytes, timestamp: int | None = None, *, content_type: str = _EVENTS_CONTENT_TYPE
    ) -> dict[str, str]:
        """The headers SendGrid sends with `body`: events, or a form of Inbound Parse."""
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
        """Post `body` to `url`. Raises requests.RequestException."""
        post = session.post if session else requests.post
        headers = self.headers(body, content_type=content_type)
        return post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
