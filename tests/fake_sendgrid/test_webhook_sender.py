"""Posts of fake_sendgrid have SendGrid's body, headers and signature."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from events_app.views.signature import verify
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

BODY = event_batch([{"event": "open"}, {"event": "click"}])


def test_a_batch_has_the_wire_format_of_sendgrid() -> None:
    assert BODY == b'[{"event":"open"},\r\n{"event":"click"}]\r\n'
    assert event_batch([]) == b"[]\r\n"


def test_raw_bytes_in_a_batch_are_unchanged() -> None:
    assert event_batch([{"a": 1}, b"\xff nonsense"]) == b'[{"a":1},\r\n\xff nonsense]\r\n'


def test_a_batch_is_json() -> None:
    events: list[dict[str, object]] = [{"email": "müller@example.com", "tls": 1}, {"category": ["a", "b"]}]
    assert json.loads(event_batch(events)) == events


def test_the_signature_covers_timestamp_and_body() -> None:
    sender = WebhookSender()
    headers = sender.headers(BODY, 1784000000)
    assert headers["X-Twilio-Email-Event-Webhook-Timestamp"] == "1784000000"
    signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
    assert verify([sender.public_key], timestamp="1784000000", signature=signature, body=BODY)
    assert not verify([sender.public_key], timestamp="1784000001", signature=signature, body=BODY)
    assert not verify([WebhookSender().public_key], timestamp="1784000000", signature=signature, body=BODY)


def test_a_form_is_signed_and_has_its_own_content_type() -> None:
    sender, form = WebhookSender(), b"--xYzZY--\r\n"
    headers = sender.headers(form, content_type="multipart/form-data; boundary=xYzZY")
    assert headers["Content-Type"] == "multipart/form-data; boundary=xYzZY"
    assert headers["User-Agent"] != sender.headers(BODY)["User-Agent"]
    timestamp, signature = (
        headers[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Timestamp", "Signature")
    )
    assert verify([sender.public_key], timestamp=timestamp, signature=signature, body=form)


def test_the_public_key_has_the_format_of_sendgrid() -> None:
    assert len(WebhookSender().public_key) == 124
    assert WebhookSender().public_key.startswith("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE")


def test_a_stored_signing_key_is_reused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    first, second = WebhookSender.from_key_file(file), WebhookSender.from_key_file(file)
    assert first.public_key == second.public_key != WebhookSender().public_key
    assert file.stat().st_mode & 0o777 == 0o600
    headers = first.headers(BODY)
    timestamp, signature = (
        headers[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Timestamp", "Signature")
    )
    assert verify([second.public_key], timestamp=timestamp, signature=signature, body=BODY)


@pytest.mark.parametrize("key", [generate_private_key(SECP384R1()), Ed25519PrivateKey.generate(), None])
def test_a_file_without_a_signing_key_raises(
    tmp_path: Path, key: EllipticCurvePrivateKey | Ed25519PrivateKey | None
) -> None:
    file = tmp_path / "key.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if key else b"nonsense"
    file.write_bytes(pem)
    with pytest.raises(ValueError, match=r"."):
        WebhookSender.from_key_file(file)
    assert file.read_bytes() == pem


class Handler(BaseHTTPRequestHandler):
    came: tuple[str, bytes] | None = None

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        Handler.came = (self.headers["User-Agent"], self.rfile.read(length))
        self.send_response(301)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def redirecting_webhook() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        thread.join()


def test_a_post_follows_no_redirect() -> None:
    with redirecting_webhook() as url:
        assert WebhookSender().post(url, BODY).status_code == 301
    assert Handler.came == ("SendGrid Event API", BODY)


def test_posting_to_an_unreachable_webhook_raises() -> None:
    with pytest.raises(requests.RequestException):
        WebhookSender().post("http://127.0.0.1:1/", BODY)
