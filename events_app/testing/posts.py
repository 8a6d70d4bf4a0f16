"""Posts to the webhooks by Django's test client, signed as SendGrid signs them.

SendGrid signs the timestamp and the body with ECDSA on P-256 and SHA-256 (Twilio docs, "Getting Started with
the Event Webhook Security Features").
"""

import base64
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import resolve, reverse

from events_app import conf
from events_app.signals import TrackingEvent
from events_app.testing.mails import Form, Mail, mail_form
from events_app.views import SendGridInboundWebhookView, SendGridTrackingWebhookView
from events_app.views.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER


def post_events(
    client: Client, events: Iterable[TrackingEvent | Mapping[str, Any] | bytes], *, url: str | None = None
) -> HttpResponse:
    """Post events in one signed batch; return the webhook's answer.

    The events are results of `tracking_event` or `raw_event`, or the bytes of any element. `url` is for
    a webhook that is not in `events_app.urls`. Raises an exception of a receiver, except inside
    `record_failures()`.
    """
    elements = [event if isinstance(event, bytes) else _element(event) for event in events]
    form = Form("application/json;charset=utf-8", b"[" + b",\r\n".join(elements) + b"]\r\n")
    return _post(client, url, form, SendGridTrackingWebhookView, "tracking_webhook_verification_key")


def post_inbound(
    client: Client,
    mail: Mail,
    *,
    envelope_sender: str | None = None,
    envelope_recipients: Sequence[str] | None = None,
    url: str | None = None,
    **fields: str,
) -> HttpResponse:
    """Post a mail as Inbound Parse does, signed; return the webhook's answer.

    The arguments are those of `inbound_event`. Otherwise as `post_events`.
    """
    form = mail_form(mail, envelope_sender, envelope_recipients, fields)
    return _post(client, url, form, SendGridInboundWebhookView, "inbound_webhook_verification_key")


def _element(event: TrackingEvent | Mapping[str, Any]) -> bytes:
    raw = event.esp_event if isinstance(event, TrackingEvent) else event
    if not raw:
        raise ValueError("The event has no esp_event to post. Build the event with tracking_event().")
    return json.dumps(raw, separators=(",", ":")).encode()


def _post(client: Client, url: str | None, form: Form, view: type, key_argument: str) -> HttpResponse:
    if isinstance(client, AsyncClient):
        raise TypeError("Post with django.test.Client; in an async test by sync_to_async(post_events).")
    url = url or reverse(f"events_app:sendgrid_{view.webhook}_webhook")  # type: ignore[attr-defined]
    function = resolve(url).func
    if not issubclass(getattr(function, "view_class", object), view):
        raise ValueError(f"{url} does not lead to {view.__name__}. Give the path of the webhook as url=.")
    # `as_view` keeps the arguments of the view there, and passes them to the view of each request.
    arguments: dict[str, Any] = function.view_initkwargs  # type: ignore[attr-defined]
    timestamp = str(int(time.time()))
    headers = {
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: base64.b64encode(
            _private_key().sign(timestamp.encode() + form.body, ECDSA(SHA256()))
        ).decode(),
    }
    # With OAuth alone a password opens the webhook too: this post is not the place to get a token.
    secret = (*conf.BASIC_AUTH.get(arguments.get("basic_auth")), "events_app.testing:password")[0]
    headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    der = _private_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own = {key_argument: base64.b64encode(der).decode(), "basic_auth": secret}
    with mock.patch.dict(arguments, own):
        # The path of the production site is often for https alone.
        return client.generic("POST", url, form.body, form.content_type, secure=True, headers=headers)  # type: ignore[return-value]


@cache
def _private_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())
