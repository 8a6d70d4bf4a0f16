"""Puts the mails of the traffic into the outbox, as accepted mails."""

from collections.abc import Sequence

from django.db import connection
from django.utils import timezone

from benchmarks.traffic import Mail
from sending_app.models import Mail as OutboxMail
from sending_app.models import OutboxMessage, Recipient


def keep(mails: Sequence[Mail]) -> None:
    """Insert a message for each mail, just accepted and without events."""
    now = timezone.now()
    messages = OutboxMessage.objects.bulk_create(
        (OutboxMessage(created_at=now, alias="default", subject="Benchmark") for _ in mails), batch_size=1000
    )
    parts = OutboxMail.objects.bulk_create(
        (
            OutboxMail(
                message=message,
                state=OutboxMail.State.ACCEPTED,
                lane=OutboxMail.Lane.MAIL,
                alias=message.alias,
                created_at=now,
                due=now,
                attempts=1,
                attempted_at=now,
                accepted_at=now,
                finished_at=now,
                x_message_id=mail.request,
                recipient_count=1,
            )
            for mail, message in zip(mails, messages, strict=True)
        ),
        batch_size=1000,
    )
    Recipient.objects.bulk_create(
        (
            Recipient(mail=part, message_id=mail.id, address=mail.address, kind=Recipient.Kind.TO)
            for mail, part in zip(mails, parts, strict=True)
        ),
        batch_size=1000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
