"""The writer of the outbox: `send()` inserts a message's rows in the caller's transaction."""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connections, router, transaction
from django.db.models import Field, Model
from django.db.models.functions import Now
from django.utils import timezone

from events_app.shared.database import database_now, sql_now
from sending_app import conf
from sending_app.api.payload import MAX_SCHEDULE_AHEAD, sending_time, split_into_requests
from sending_app.mail import AttachedFile, ComposedMail, Personalization, SharedContent
from sending_app.models import Attachment, Mail, OutboxMessage, Recipient

#: Rows of an insert statement.
SLICE = 1000

_INSERT = """
WITH message AS (INSERT INTO {message} ({message_columns}) VALUES {message_values} RETURNING id),
mail AS (
    INSERT INTO {mail} (message_id, {mail_columns})
    SELECT message.id, kept.* FROM message, (VALUES {mail_values}) AS kept RETURNING id
)
INSERT INTO {recipient} (mail_id, {recipient_columns})
SELECT mail.id, kept.* FROM mail, (VALUES {recipient_values}) AS kept
"""


def using() -> str:
    """The database that keeps the outbox."""
    return router.db_for_write(OutboxMessage)


def keep(composed: ComposedMail, alias: str, bulk_above: int) -> Mail.Lane:
    """Insert the rows of a message of the mailer `alias`, and return the lane of its mails.

    Raises exceptions.TooLarge before any insert, and database errors.
    """
    split = split_into_requests(composed)
    bulk = composed.bulk
    if bulk is None:
        bulk = composed.is_batch and len(composed.personalizations) > bulk_above
    lane = Mail.Lane.BULK if bulk else Mail.Lane.MAIL
    database = using()
    if len(split) == 1 and not composed.attachments and connections[database].vendor == "postgresql":
        _keep_in_one_statement(composed, alias, lane, split[0], database)
    else:
        _keep(composed, alias, lane, split, database)
    return lane


def _keep_in_one_statement(
    composed: ComposedMail,
    alias: str,
    lane: Mail.Lane,
    personalizations: Sequence[Personalization],
    database: str,
) -> None:
    message = _message(composed, alias, sql_now(database))
    mail = _mail(message, lane, composed.shared, personalizations)
    rows = _recipients(mail, personalizations)
    # A statement is its own transaction. Inside the caller's transaction, a savepoint contains a failure.
    is_autocommit = connections[database].get_autocommit()
    with nullcontext() if is_autocommit else transaction.atomic(using=database):
        insert_in_one_statement(database, message, mail, rows)


def _keep(
    composed: ComposedMail,
    alias: str,
    lane: Mail.Lane,
    split: Sequence[Sequence[Personalization]],
    database: str,
) -> None:
    with transaction.atomic(using=database):
        message = _message(composed, alias, database_now(database))
        message.save(using=database)
        files = (Attachment(message=message, **asdict(file)) for file in composed.attachments)
        Attachment.objects.using(database).bulk_create(files)
        mails = [_mail(message, lane, composed.shared, personalizations) for personalizations in split]
        Mail.objects.using(database).bulk_create(mails)
        recipients = (row for pair in zip(mails, split, strict=True) for row in _recipients(*pair))
        Recipient.objects.using(database).bulk_create(recipients, batch_size=SLICE)


def shared_content_of(message: OutboxMessage) -> SharedContent:
    """The message's shared content, during its retention."""
    return msgspec.json.decode(bytes(message.content or b""), type=SharedContent)


def personalizations_of(mail: Mail) -> list[Personalization]:
    """The mail's personalizations, during their retention."""
    return msgspec.json.decode(bytes(mail.personalizations or b""), type=list[Personalization])


def files_of(message: OutboxMessage) -> list[AttachedFile]:
    """The message's attachments in their order, during the retention of the content."""
    return [
        AttachedFile(
            filename=row.filename, type=row.type, content_id=row.content_id, content=bytes(row.content)
        )
        for row in message.attachments.order_by("pk")
    ]


def _message(composed: ComposedMail, alias: str, now: datetime | Now) -> OutboxMessage:
    return OutboxMessage(
        created_at=now,
        alias=alias,
        subject=str(composed.shared.body.get("subject", "")).replace("\0", "")[:200],
        content=msgspec.json.encode(composed.shared),
    )


def _mail(
    message: OutboxMessage,
    lane: Mail.Lane,
    shared: SharedContent,
    personalizations: Sequence[Personalization],
) -> Mail:
    now = message.created_at
    return Mail(
        message=message,
        lane=lane,
        alias=message.alias,
        created_at=now,
        due=now,
        send_at=_capped_send_at(shared, personalizations),
        recipient_count=sum(len(personalization.recipients) for personalization in personalizations),
        personalizations=msgspec.json.encode(personalizations),
    )


def _capped_send_at(shared: SharedContent, personalizations: Sequence[Personalization]) -> datetime | None:
    # The age limit counts from send_at, so a mail for a distant time would never fail.
    send_at = sending_time(shared, personalizations)
    longest = MAX_SCHEDULE_AHEAD + timedelta(seconds=conf.MAX_AGE.get())
    return send_at and min(send_at, timezone.now() + longest)


def _recipients(mail: Mail, personalizations: Sequence[Personalization]) -> list[Recipient]:
    # A row per personalization and address. Two equal addresses in a personalization are a mistake that
    # SendGrid refuses, or different addresses that casefold() makes equal.
    rows: dict[tuple[str, str], Recipient] = {}
    for personalization in personalizations:
        for role, addresses in (
            (Recipient.Kind.TO, personalization.to),
            (Recipient.Kind.CC, personalization.cc),
            (Recipient.Kind.BCC, personalization.bcc),
        ):
            for recipient in addresses:
                address = recipient["email"].replace("\0", "").casefold()[:320]
                row = Recipient(
                    mail=mail, message_id=uuid.UUID(personalization.id), address=address, kind=role
                )
                rows.setdefault((personalization.id, address), row)
    return list(rows.values())


def insert_in_one_statement(
    using: str, message: OutboxMessage, mail: Mail, recipients: Sequence[Recipient]
) -> None:
    """Insert a message, its only mail and the recipients in a single statement.

    The instances get no primary keys. PostgreSQL only: a statement of SQLite inserts into a single table.
    """
    parameters: list[Any] = []
    names: dict[str, str] = {}
    for name, rows, generated in (
        ("message", [message], "id"),
        ("mail", [mail], "id message_id"),
        ("recipient", recipients, "id mail_id"),
    ):
        # Fields with NULL are left out: PostgreSQL would take a NULL among VALUES for text.
        fields = [
            field
            for field in rows[0]._meta.concrete_fields
            if field.attname not in generated.split() and getattr(rows[0], field.attname) is not None
        ]
        names[name] = rows[0]._meta.db_table
        names[f"{name}_columns"] = ", ".join(str(field.column) for field in fields)
        names[f"{name}_values"] = ", ".join(_placeholders(row, fields, using, parameters) for row in rows)
    with connections[using].cursor() as cursor:
        cursor.execute(_INSERT.format(**names), parameters)


def _placeholders(row: Model, fields: "Iterable[Field[Any, Any]]", using: str, parameters: list[Any]) -> str:
    """The row's placeholders. Appends the values to `parameters`."""
    connection = connections[using]
    placeholders = []
    for field in fields:
        field_value = getattr(row, field.attname)
        if isinstance(field_value, Now):
            placeholders.append("statement_timestamp()")
        else:
            placeholders.append("%s")
            parameters.append(field.get_db_prep_save(field_value, connection))
    return f"({', '.join(placeholders)})"
