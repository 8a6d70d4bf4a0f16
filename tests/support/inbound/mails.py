"""Inbound mails: a sample, stored posts, and stored rows with or without a pending delivery."""

import uuid
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from events_app.dispatch import dispatcher, leases
from events_app.dispatch.leases import Lease
from events_app.inbound import storage, store
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared.database import database_now
from fake_sendgrid import inbound_form
from fake_sendgrid.multipart_form import MultipartForm


def sample_mail(number: int = 1, subject: str = "A question", text: str = "Where is it?\n") -> EmailMessage:
    found = EmailMessage()
    found["From"] = "Zoë <Zoe@example.org>"
    found["To"] = "Desk <desk@parse.example.com>"
    found["Subject"] = subject
    found["Message-ID"] = f"<{number}@mail.example.org>"
    found.set_content(text)
    return found


def keep_mail(mail: EmailMessage | MultipartForm | bytes) -> InboundMail:
    """Keep a post as the webhook view does: a mail, a form, or bytes that are not a form."""
    form = inbound_form.raw_form(mail) if isinstance(mail, EmailMessage) else mail
    body = form if isinstance(form, bytes) else form.body()
    file = storages[storage.ALIAS].save(f"tests/{uuid.uuid4().hex}.form", ContentFile(body))
    store.save_mail(
        "inbound",
        file=file,
        size=len(body),
        digest=sha256(body).digest(),
        content_type="text/plain" if isinstance(form, bytes) else form.content_type,
    )
    return InboundMail.objects.order_by("pk").last() or InboundMail()


def deliver_mails() -> bool:
    """Run one worker's delivery of fresh mails."""
    lease = Lease(kind=store.INBOUND_MAILS)
    return dispatcher.deliver(leases.take_released(lease, 100), lease)


RECEIVED = datetime(2026, 7, 14, 12, tzinfo=UTC)


def store_read_mail(**fields: Any) -> int:
    """Store the row of a read mail with no pending delivery; return its id."""
    given = {
        "file": uuid.uuid4().hex,
        "size": 1,
        "digest": b"",
        "webhook": "inbound",
        "received_at": RECEIVED,
    }
    return InboundMail.objects.create(**{**given, **fields}).pk


def add_pending_mail(pk: int, **fields: Any) -> PendingInboundDelivery:
    """A pending delivery of a stored mail."""
    now = database_now(InboundMail.objects.db)
    return PendingInboundDelivery.objects.create(mail_id=pk, **{"due": now, **fields})
