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

from events_app.shared.database import database_now, its_now
from sending_app import conf
from sending_app.api import split as api_split
from sending_app.api.split import FURTHEST, sending_time
from sending_app.mail import Attachment as File
from sending_app.mail import Common, Envelope, Mail
from sending_app.models import Attachment, OutboxMessage, Part, Recipient

#: Rows one statement inserts.
SLICE = 1000

_INSERT = """
WITH message AS (INSERT INTO {message} ({message_columns}) VALUES {message_values} RETURNING id),
part AS (
    INSERT INTO {part} (message_id, {part_columns})
    SELECT message.id, kept.* FROM message, (VALUES {part_values}) AS kept RETURNING id
)
INSERT INTO {recipient} (part_id, {recipient_columns})
SELECT part.id, kept.* FROM part, (VALUES {recipient_values}) AS kept
"""


def using() -> str:
    """The database that keeps the outbox."""
    return router.db_for_write(OutboxMessage)


def keep(mail: Mail, alias: str, bulk_above: int) -> Part.Lane:
    """Write the mail down, to be sent by the mailer `alias`; answer the lane it leaves by.

    Raises exceptions.TooLarge, with nothing written, and what the database raises.
    """
    split = api_split.split(mail)
    lane = _lane(mail, bulk_above)
    database = using()
    if len(split) == 1 and not mail.attachments and connections[database].vendor == "postgresql":
        _keep_at_once(mail, alias, lane, split[0], database)
    else:
        _keep(mail, alias, lane, split, database)
    return lane


def _keep_at_once(
    mail: Mail, alias: str, lane: Part.Lane, envelopes: Sequence[Envelope], database: str
) -> None:
    message = _message(mail, alias, its_now(database))
    part = _part(message, lane, mail.common, envelopes)
    rows = _recipients(part, envelopes)
    # One statement is its own transaction. Should it fail in the caller's, a savepoint leaves that whole.
    alone = connections[database].get_autocommit()
    with nullcontext() if alone else transaction.atomic(using=database):
        insert_at_once(database, message, part, rows)


def _keep(
    mail: Mail, alias: str, lane: Part.Lane, split: Sequence[Sequence[Envelope]], database: str
) -> None:
    with transaction.atomic(using=database):
        message = _message(mail, alias, database_now(database))
        message.save(using=database)
        files = (_attachment(message, file) for file in mail.attachments)
        Attachment.objects.using(database).bulk_create(files)
        rows = [_part(message, lane, mail.common, envelopes) for envelopes in split]
        Part.objects.using(database).bulk_create(rows)
        recipients = (row for pair in zip(rows, split, strict=True) for row in _recipients(*pair))
        Recipient.objects.using(database).bulk_create(recipients, batch_size=SLICE)


def common_of(message: OutboxMessage) -> Common:
    """What was kept of the message; only while its content is."""
    return msgspec.json.decode(bytes(message.content or b""), type=Common)


def envelopes_of(part: Part) -> list[Envelope]:
    """What was kept of the part; only while its envelopes are."""
    return msgspec.json.decode(bytes(part.envelopes or b""), type=list[Envelope])


def files_of(message: OutboxMessage) -> list[File]:
    """Its attachments, in the order in which they were attached; only while its content is kept."""
    return [
        File(filename=row.filename, type=row.type, content_id=row.content_id, content=bytes(row.content))
        for row in message.attachments.order_by("pk")
    ]


def _message(mail: Mail, alias: str, now: datetime | Now) -> OutboxMessage:
    return OutboxMessage(
        created_at=now,
        alias=alias,
        subject=_subject(mail),
        content=msgspec.json.encode(mail.common),
    )


def _attachment(message: OutboxMessage, file: File) -> Attachment:
    return Attachment(
        message=message,
        filename=file.filename,
        type=file.type,
        content_id=file.content_id,
        content=file.content,
    )


def _part(message: OutboxMessage, lane: Part.Lane, common: Common, envelopes: Sequence[Envelope]) -> Part:
    now = message.created_at
    return Part(
        message=message,
        lane=lane,
        alias=message.alias,
        created_at=now,
        due=now,
        send_at=_send_at(common, envelopes),
        recipient_count=sum(len(envelope.recipients) for envelope in envelopes),
        envelopes=msgspec.json.encode(envelopes),
    )


def _send_at(common: Common, envelopes: Sequence[Envelope]) -> datetime | None:
    """As near as it can be: what waits for a time that SendGrid refuses would wait for ever."""
    asked = sending_time(common, envelopes)
    longest = FURTHEST + timedelta(seconds=conf.MAX_AGE.get())
    return asked and min(asked, timezone.now() + longest)


def _lane(mail: Mail, bulk_above: int) -> Part.Lane:
    bulk = mail.is_batch and len(mail.envelopes) > bulk_above if mail.bulk is None else mail.bulk
    return Part.Lane.BULK if bulk else Part.Lane.MAIL


def _subject(mail: Mail) -> str:
    return str(mail.common.body.get("subject", "")).replace("\0", "")[:200]


def _recipients(part: Part, envelopes: Sequence[Envelope]) -> list[Recipient]:
    # An address that a personalization has twice is one recipient: SendGrid will refuse it, or casefold()
    # took two for the same.
    found: dict[tuple[str, str], Recipient] = {}
    for envelope in envelopes:
        for kind, addresses in (
            (Recipient.Kind.TO, envelope.to),
            (Recipient.Kind.CC, envelope.cc),
            (Recipient.Kind.BCC, envelope.bcc),
        ):
            for one in addresses:
                address = one["email"].replace("\0", "").casefold()[:320]
                row = Recipient(part=part, message_id=uuid.UUID(envelope.id), address=address, kind=kind)
                found.setdefault((envelope.id, address), row)
    return list(found.values())


def insert_at_once(using: str, message: OutboxMessage, part: Part, recipients: Sequence[Recipient]) -> None:
    """Insert a message, its only part and their recipients in one statement, or nothing.

    The rows do not learn their keys. For PostgreSQL: SQLite inserts into one table a statement.
    """
    parameters: list[Any] = []
    words: dict[str, str] = {}
    for name, rows, beside in (
        ("message", [message], "id"),
        ("part", [part], "id message_id"),
        ("recipient", recipients, "id part_id"),
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
