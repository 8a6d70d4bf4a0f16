"""Keys, headers and bodies of posts to the webhooks: signed, with a password, and unauthentic."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "payloads" / "signatures.json").read_bytes()
)

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["case"] for vector in VECTORS])

SENDER = WebhookSender()

PUBLIC_KEY = SENDER.public_key

PEM = f"-----BEGIN PUBLIC KEY-----\n{PUBLIC_KEY[:64]}\n{PUBLIC_KEY[64:]}\n-----END PUBLIC KEY-----\n"


def vector_body(vector: dict[str, Any]) -> bytes:
    """The file has the body as text, with lone surrogates for bytes that are not UTF-8."""
    body: str = vector["body"]
    return body.encode("utf-8", "surrogateescape")


#: The body that `unauthentic_headers` signs.
BODY = event_batch(generate_events(3))


def basic_auth(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


#: Basic auth that the tests' settings accept.
SECRET = basic_auth("sendgrid:a-secret-for-tests-only")


class UnreadBody(io.BytesIO):
    """A body that fails the test when it is read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the headers alone say no")


def unauthentic_headers(sender: WebhookSender) -> dict[str, dict[str, str]]:
    """Headers that fail verification, by their fault."""
    good, now = sender.headers(BODY), int(time.time())
    return {
        "no base64": good | {"X-Twilio-Email-Event-Webhook-Signature": "***"},
        "no DER": good | {"X-Twilio-Email-Event-Webhook-Signature": "AAECAwQFBgcICQoLDA0O"},
        "nine digits": good | {"X-Twilio-Email-Event-Webhook-Timestamp": "178400000"},
        "milliseconds": sender.headers(BODY, now * 1000),
        "old": sender.headers(BODY, now - 400_000),
        "to come": sender.headers(BODY, now + 7200),
    }
