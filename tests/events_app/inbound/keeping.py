"""Inbound mails that are kept already: what a test of the worker begins with."""

import uuid
from email.message import EmailMessage
from hashlib import sha256

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from events_app import claims, dispatch
from events_app.claims import Claim
from events_app.inbound import mails, storage
from events_app.models import InboundMail
from fake_sendgrid import inbound
from fake_sendgrid.form import Form


def letter(number: int = 1, subject: str = "A question", text: str = "Where is it?\n") -> EmailMessage:
    found = EmailMessage()
    found["From"] = "Zoë <Zoe@example.org>"
    found["To"] = "Desk <desk@parse.example.com>"
    found["Subject"] = subject
    found["Message-ID"] = f"<{number}@mail.example.org>"
    found.set_content(text)
    return found


def keep(mail: EmailMessage | Form | bytes) -> InboundMail:
    """As the door does: a mail, a form, or bytes that are none."""
    form = inbound.raw(mail) if isinstance(mail, EmailMessage) else mail
    body = form if isinstance(form, bytes) else form.body()
    file = storages[storage.ALIAS].save(f"tests/{uuid.uuid4().hex}.form", ContentFile(body))
    mails.keep(
        "inbound",
        file=file,
        size=len(body),
        digest=sha256(body).digest(),
        content_type="text/plain" if isinstance(form, bytes) else form.content_type,
    )
    return InboundMail.objects.order_by("pk").last() or InboundMail()


def deliver() -> bool:
    """One worker's turn at fresh mails."""
    claim = Claim(kind=mails.MAILS)
    return dispatch.deliver(claims.take_released(claim, 100), claim)
