"""The writer of the outbox: one `send()` becomes rows, in the caller's transaction."""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connections, router, transaction
from django.db.models import Field, Model
from django.db.models.functions import Now
from django.utils import timezone

from events_app.shared.database import database_now, sql_now
from sending_app import conf
from sending_app.api import split as api_split
from sending_app.api.split import MAX_SCHEDULE_AHEAD, sending_time
from sending_app.mail import Attachment as File
from sending_app.mail import ComposedMail, Personalization, SharedContent
from sending_app.models import Attachment, Mail, OutboxMessage, Recipient

#: Rows one statement inserts.
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
    """Write the mail down, to be sent by the mailer `alias`; answer the lane it leaves by.

    Raises exceptions.TooLarge, with nothing written, and what the database raises.
    """
    split = api_split.split(composed)
    lane = _lane(composed, bulk_above)
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
    # One statement is its own transaction. Should it fail in the caller's, a savepoint leaves that whole.
    alone = connections[database].get_autocommit()
    with nullcontext() if alone else transaction.atomic(using=database):
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
        files = (_attachment(message, file) for file in composed.attachments)
        Attachment.objects.using(database).bulk_create(files)
        rows = [_mail(message, lane, composed.shared, personalizations) for personalizations in split]
        Mail.objects.using(database).bulk_create(rows)
        recipients = (row for pair in zip(rows, split, strict=True) for row in _recipients(*pair))
        Recipient.objects.using(database).bulk_create(recipients, batch_size=SLICE)


def shared_content_of(message: OutboxMessage) -> SharedContent:
    """What was kept of the message; only while its content is."""
    return msgspec.json.decode(bytes(message.content or b""), type=SharedContent)


def personalizations_of(mail: Mail) -> list[Personalization]:
    """What was kept of the mail; only while its personalizations are."""
    return msgspec.json.decode(bytes(mail.personalizations or b""), type=list[Personalization])


def files_of(message: OutboxMessage) -> list[File]:
    """Its attachments, in the order in which they were attached; only while its content is kept."""
    return [
        File(filename=row.filename, type=row.type, content_id=row.content_id, content=bytes(row.content))
        for row in message.attachments.order_by("pk")
    ]


def _message(composed: ComposedMail, alias: str, now: datetime | Now) -> OutboxMessage:
    return OutboxMessage(
        created_at=now,
        alias=alias,
        subject=_subject(composed),
        content=msgspec.json.encode(composed.shared),
    )


def _attachment(message: OutboxMessage, file: File) -> Attachment:
    return Attachment(
        message=message,
        filename=file.filename,
        type=file.type,
        content_id=file.content_id,
        content=file.content,
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
        send_at=_send_at(shared, personalizations),
        recipient_count=sum(len(personalization.recipients) for personalization in personalizations),
        personalizations=msgspec.json.encode(personalizations),
    )


def _send_at(shared: SharedContent, personalizations: Sequence[Personalization]) -> datetime | None:
    """As near as it can be: what waits for a time that SendGrid refuses would wait for ever."""
    asked = sending_time(shared, personalizations)
    longest = MAX_SCHEDULE_AHEAD + timedelta(seconds=conf.MAX_AGE.get())
    return asked and min(asked, timezone.now() + longest)


def _lane(composed: ComposedMail, bulk_above: int) -> Mail.Lane:
    bulk = (
        composed.is_batch and len(composed.personalizations) > bulk_above
        if composed.bulk is None
        else composed.bulk
    )
    return Mail.Lane.BULK if bulk else Mail.Lane.MAIL


def _subject(composed: ComposedMail) -> str:
    return str(composed.shared.body.get("subject", "")).replace("\0", "")[:200]


def _recipients(mail: Mail, personalizations: Sequence[Personalization]) -> list[Recipient]:
    # An address that a personalization has twice is one recipient: SendGrid will refuse it, or casefold()
    # took two for the same.
    found: dict[tuple[str, str], Recipient] = {}
    for personalization in personalizations:
        for kind, addresses in (
            (Recipient.Kind.TO, personalization.to),
            (Recipient.Kind.CC, personalization.cc),
            (Recipient.Kind.BCC, personalization.bcc),
        ):
            for one in addresses:
                address = one["email"].replace("\0", "").casefold()[:320]
                row = Recipient(
                    mail=mail, message_id=uuid.UUID(personalization.id), address=address, kind=kind
                )
                found.setdefault((personalization.id, address), row)
    return list(found.values())


def insert_in_one_statement(
    using: str, message: OutboxMessage, mail: Mail, recipients: Sequence[Recipient]
) -> None:
    """Insert a message, its only mail and their recipients in one statement, or nothing.

    The rows do not learn their keys. For PostgreSQL: SQLite inserts into one table a statement.
    """
    parameters: list[Any] = []
    words: dict[str, str] = {}
    for name, rows, beside in (
        ("message", [message], "id"),
        ("mail", [mail], "id message_id"),
        ("recipient", recipients, "id mail_id"),
    ):
        fields = _fields(rows[0], beside.split())
        words[name] = rows[0]._meta.db_table
        words[f"{name}_columns"] = ", ".join(str(field.column) for field in fields)
        words[f"{name}_values"] = ", ".join(_values(row, fields, using, parameters) for row in rows)
    with connections[using].cursor() as cursor:
        cursor.execute(_INSERT.format(**words), parameters)


def _fields(row: Model, beside: Iterable[str]) -> "list[Field[Any, Any]]":
    # What is null is left out: among values it would be taken for a text.
    fields = row._meta.concrete_fields
    return [one for one in fields if one.attname not in beside and getattr(row, one.attname) is not None]


def _values(row: Model, fields: "Iterable[Field[Any, Any]]", using: str, parameters: list[Any]) -> str:
    """A row of placeholders; what is to stand there goes to the parameters."""
    connection = connections[using]
    places = []
    for field in fields:
        value = getattr(row, field.attname)
        if isinstance(value, Now):
            places.append("statement_timestamp()")
        else:
            places.append("%s")
            parameters.append(field.get_db_prep_save(value, connection))
    return f"({', '.join(places)})"
