"""SendGrid's side of the Event Webhook: a batch's bytes, its signature, the post.

The form on the wire (a comma and CRLF between compact objects, CRLF at the end) and what is signed
are SendGrid's: Twilio docs, "Getting Started with the Event Webhook Security Features".
"""

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def batch(events: Iterable[Mapping[str, Any] | bytes]) -> bytes:
    """The body of a post of `events`; bytes stand in it as they are."""
    elements = [
        one if isinstance(one, bytes) else json.dumps(one, separators=(",", ":")).encode() for one in events
    ]
    return b"[" + b",\r\n".join(elements) + b"]\r\n"


class Sender:
    """One Event Webhook with signing on."""

    def __init__(self) -> None:
        self._private_key = generate_private_key(SECP256R1())
        der = self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        #: As SendGrid's settings page shows it.
        self.public_key = base64.b64encode(der).decode()

    def headers(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers SendGrid sends with `body`."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        signature = self._private_key.sign(at.encode() + body, ECDSA(SHA256()))
        return {
            "User-Agent": "SendGrid Event API",
            "Content-Type": "application/json;charset=utf-8",
            "X-Twilio-Email-Event-Webhook-Timestamp": at,
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        }

    def post(self, url: str, body: bytes, timeout: float = 10) -> requests.Response:
        """Post `body` to `url`. Raises requests.RequestException."""
        return requests.post(
            url, data=body, headers=self.headers(body), timeout=timeout, allow_redirects=False
        )
