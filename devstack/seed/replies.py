"""Saves inbound mails by the way of the webhook and the worker: replies, and a few of other kinds."""

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from django.core.files.uploadedfile import TemporaryUploadedFile

from devstack.seed.customers import ANN, Customer
from devstack.seed.mails import Sent
from devstack.seed.messages import PDF
from events_app.decode import Unreadable
from events_app.inbound import storage
from events_app.inbound.store import read_mail, save_mail
from events_app.models import InboundMail, PendingInboundDelivery
from fake_sendgrid.inbound_form import parsed_form, raw_form

_TEXTS = (
    "Thanks, the parcel has come.",
    "The amount is wrong: I paid for one pair. Please send a new invoice.",
    "I am away until Monday. Please write to my colleague.",
    "Where is my order? The page of the parcel service shows nothing.",
    "Please do not send me these mails any more.",
)

_OF_ANN = "Dear shop,\nmy company needs its tax number on the invoice. Please send a new one.\n\nAnn Lee"

_FAILURE = """\
Traceback (most recent call last):
  File "/srv/shop/support/receivers.py", line 33, in open_ticket
    return desk.tickets.create(subject=event.message.subject, sender=event.message.from_email)
           ~~~~~~~~~~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
support.desk.Unavailable: 502 Bad Gateway
"""


class ReplyWriter:
    """Saves mails with their files, in the storage of the deployment."""

    def __init__(self, rng: random.Random, now: float) -> None:
        self.rng, self.now = rng, now
        self.written = 0

    def write(self, sent: Sequence[Sent], count: int) -> None:
        """Save `count` replies to some of these mails; the last reply comes from Ann."""
        of_ann = next((mail for mail in reversed(sent) if mail.to == ANN), None)
        answered = self.rng.sample(sent, min(count, len(sent)))
        replies = [(mail, self._received_at(mail), self.rng.choice(_TEXTS)) for mail in answered]
        if of_ann:
            replies.append((of_ann, self.now - 20 * 60, _OF_ANN))
        for number, (mail, received_at, text) in enumerate(sorted(replies, key=lambda reply: reply[1])):
            form = raw_form if number % 3 else parsed_form
            post = form(_reply(mail, text, with_file=text is _OF_ANN), spam=0.1 if number % 5 else 5.2)
            row = self._save(post.body(), post.content_type, received_at)
            if number % 20 == 7:  # SendGrid repeats a post
                self._save(post.body(), post.content_type, received_at + 40)
            if number % 8 == 5:
                self._keep_dead_letter(row)
        self._save(b"--x\r\nno form", "multipart/form-data; boundary=y", self.now - 9 * 60)

    def _received_at(self, mail: Sent) -> float:
        return min(mail.at + 600 + 40_000 * self.rng.random(), self.now - 30)

    def _save(self, body: bytes, content_type: str, received_at: float) -> InboundMail:
        with TemporaryUploadedFile("post", content_type, len(body), None) as spooled:
            spooled.write(body)
            file = storage.save_file(spooled)
        digest = hashlib.sha256(body).digest()
        save_mail("inbound", file=file, size=len(body), digest=digest, content_type=content_type)
        row = InboundMail.objects.get(file=file)
        row.received_at = datetime.fromtimestamp(received_at, UTC)
        row.save(update_fields=["received_at"])
        pending = PendingInboundDelivery.objects.filter(pk=row.pk)
        try:
            read_mail(row)
        except Unreadable as error:
            pending.update(state=PendingInboundDelivery.State.DEAD_LETTER, error=str(error))
        else:
            pending.delete()
        self.written += 1
        return row

    def _keep_dead_letter(self, row: InboundMail) -> None:
        PendingInboundDelivery.objects.create(
            mail=row,
            state=PendingInboundDelivery.State.DEAD_LETTER,
            due=row.received_at + timedelta(hours=30),
            failures=15,
            receivers={"shop.support.receivers.open_ticket": _FAILURE},
            error="Given up: a receiver failed 15 times.",
        )


def _reply(mail: Sent, text: str, with_file: bool) -> EmailMessage:
    reply = EmailMessage()
    reply["From"] = f"{mail.to.name} <{mail.to.address}>"
    reply["To"] = f"The shop <reply+{mail.message_id.hex}@reply.shop.example>"
    reply["Subject"] = f"Re: {mail.subject}"
    reply["Message-ID"] = f"<{mail.message_id.hex}@{_domain(mail.to)}>"
    reply.set_content(f"{text}\n\nOn Monday, The shop wrote:\n> {mail.subject}\n")
    reply.add_alternative(f"<p>{text}</p><blockquote>{mail.subject}</blockquote>", subtype="html")
    if with_file:
        reply.add_attachment(PDF, maintype="application", subtype="pdf", filename="tax-number.pdf")
    return reply


def _domain(customer: Customer) -> str:
    return customer.address.rpartition("@")[2]
