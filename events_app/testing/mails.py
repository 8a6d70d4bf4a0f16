"""Inbound mails as SendGrid posts them, for tests."""

import json
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from io import BytesIO
from typing import NamedTuple, TypeAlias
from uuid import uuid4

from django.utils import timezone

from events_app.inbound.message import InboundMessage
from events_app.inbound.parse.form import read_form
from events_app.inbound.parse.post import read_post
from events_app.signals import InboundEvent

#: A mail, or its source.
Mail: TypeAlias = EmailMessage | bytes


class Form(NamedTuple):
    """The body of a post, and its Content-Type."""

    content_type: str
    body: bytes


def mail_form(
    mail: Mail, sender: str | None, recipients: Sequence[str] | None, fields: Mapping[str, str]
) -> Form:
    """The post of this mail, in raw mode. `fields` replace SendGrid's fields, or are added."""
    source = mail if isinstance(mail, bytes) else mail.as_bytes()
    message = InboundMessage.parse_raw_mime_bytes(source)
    if sender is None:
        author = message.from_email
        sender = getattr(mail, "envelope_sender", None) or (author.addr_spec if author else "")
    if recipients is None:
        named = [address.addr_spec for address in (*message.to, *message.cc)]
        recipients = getattr(mail, "envelope_recipients", None) or named
    values: dict[str, str] = {
        "to": str(message.get("To", "")),
        "from": str(message.get("From", "")),
        "subject": message.subject or "",
        "envelope": json.dumps({"to": list(recipients), "from": sender}),
        "sender_ip": "198.51.100.25",
        "SPF": "pass",
        "dkim": f"{{@{sender.rpartition('@')[2]} : pass}}",
        "spam_score": "0.1",
        "charsets": json.dumps(dict.fromkeys(("to", "from", "subject"), "UTF-8")),
        **fields,
    }
    boundary = uuid4().hex
    parts = {"email": source, **{name: text.encode("utf-8", "replace") for name, text in values.items()}}
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in parts.items()
    )
    return Form(f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode())


def inbound_event(
    mail: Mail,
    *,
    envelope_sender: str | None = None,
    envelope_recipients: Sequence[str] | None = None,
    **fields: str,
) -> InboundEvent:
    """The event that a receiver gets for this mail, such as a result of `InboundMessage.construct`.

    Without an envelope, the mail comes from its author to its To and Cc. `fields` are SendGrid's fields,
    such as `spam_score` or `SPF`. Raises ValueError for a mail that would become a dead letter.
    """
    content_type, body = mail_form(mail, envelope_sender, envelope_recipients, fields)
    reading = read_post(read_form(BytesIO(body), content_type))
    return InboundEvent(
        message=reading.message,
        event_id=uuid4().hex,
        timestamp=timezone.now(),
        esp_event=reading.fields,
    )
