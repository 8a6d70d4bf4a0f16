"""The usual recipe: rows, and a task for each mail after the commit."""

from functools import partial
from typing import Any

from celery import shared_task
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from benchmarks.rival_mail.models import Message, Recipient


def send(subject: str, body: str, to: str) -> None:
    with transaction.atomic():
        row = Message.objects.create(subject=subject, body=body, from_email="shop@example.com")
        Recipient.objects.create(message=row, address=to)
        transaction.on_commit(partial(post.delay, row.pk))


@shared_task
def post(pk: int) -> None:
    row = Message.objects.get(pk=pk)
    to = [recipient.address for recipient in Recipient.objects.filter(message=row)]
    message: Any = EmailMessage(row.subject, row.body, row.from_email, to)
    message.send()
    with transaction.atomic():
        Message.objects.filter(pk=pk).update(state="accepted", sent_at=timezone.now())
        for address, told in message.anymail_status.recipients.items():
            Recipient.objects.filter(message=pk, address=address).update(
                anymail_id=told.message_id, status=told.status
            )
