"""The writer of the outbox: `send()` inserts a message's rows in the caller's transaction."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime, timedelta

import msgspec
from django.db import connections, router, transaction
from django.db.models.functions import Now
from django.utils import timezone

from events_app.shared.database import clean, database_now, sql_now
from events_app.shared.tracing import current_traceparent
from sending_app import conf, encryption, sql
from sending_app.api.payload import MAX_SCHEDULE_AHEAD, sending_time, split_into_requests
from sending_app.mail import AttachedFile, ComposedMail, Personalization, SharedContent
from sending_app.models import Attachment, Mail, MessageLabel, OutboxMessage, Recipient
from sending_app.screening import row_address, screen

#: Rows of an insert statement.
SLICE = 1000

#: The error of a rejected mail.
ALL_SUPPRESSED = "Every recipient is suppressed."

#: Labels of a message. SendGrid takes ten tags; metadata is limited only in bytes.
MOST_LABELS = 50


def using() -> str:
    """The database that keeps the outbox."""
    return router.db_for_write(OutboxMessage)


def keep(
    composed: ComposedMail, alias: str, bulk_above: int, suppressed: Mapping[str, str] = {}
) -> Mail.Lane:
    """Insert the rows of a message of the mailer `alias`, and return the lane of its mails.

    The mails leave out the recipients in `suppressed` (`screening.screen`); all recipients have rows. A mail
    without any other recipient is rejected. The mails get the current span, if that is sampled. Raises
    exceptions.TooLarge before any insert, and database errors.
    """
    split = split_into_requests(composed)
    lane = _lane(composed, bulk_above)
    database = using()
    if len(split) == 1 and not composed.attachments and not suppressed and sql.is_postgresql(database):
        _insert_at_once(composed, alias, lane, split[0])
    else:
        with transaction.atomic(using=database):
            message = _message(composed, alias, database_now(database))
            message.save(using=database)
            MessageLabel.objects.using(database).bulk_create(_labels(message, composed.shared))
            files = (_attachment(message, file) for file in composed.attachments)
            Attachment.objects.using(database).bulk_create(files)
            mails = [
                _screened(
                    _mail(message, lane, composed.shared, personalizations), personalizations, suppressed
                )
                for personalizations in split
            ]
            Mail.objects.using(database).bulk_create(mails)
            rows = (row for pair in zip(mails, split, strict=True) for row in _recipients(*pair))
            Recipient.objects.using(database).bulk_create(rows, batch_size=SLICE)
    return lane


def keep_unless_suppressed(
    composed: ComposedMail, alias: str, bulk_above: int, look_up: Callable[[], sql.LookUp]
) -> Mail.Lane | None:
    """As `keep`, in one statement. None if the statement inserts nothing, as the look-up finds a suppression.

    None too for a message that needs several statements: on SQLite, with attachments, and a batch.
    """
    if composed.is_batch or composed.attachments or not sql.is_postgresql(using()):
        return None
    unless = look_up()
    if not unless.addresses:
        return None
    (personalizations,) = split_into_requests(composed)
    lane = _lane(composed, bulk_above)
    return lane if _insert_at_once(composed, alias, lane, personalizations, unless) else None


def _lane(composed: ComposedMail, bulk_above: int) -> Mail.Lane:
    bulk = composed.bulk
    if bulk is None:
        bulk = composed.is_batch and len(composed.personalizations) > bulk_above
    return Mail.Lane.BULK if bulk else Mail.Lane.MAIL


def _insert_at_once(
    composed: ComposedMail,
    alias: str,
    lane: Mail.Lane,
    personalizations: Sequence[Personalization],
    unless: sql.LookUp | None = None,
) -> bool:
    database = using()
    message = _message(composed, alias, sql_now(database))
    mail = _mail(message, lane, composed.shared, personalizations)
    recipients, labels = _recipients(mail, personalizations), _labels(message, composed.shared)
    # A statement is its own transaction. Inside the caller's transaction, a savepoint contains a failure.
    is_autocommit = connections[database].get_autocommit()
    with nullcontext() if is_autocommit else transaction.atomic(using=database):
        return sql.insert_message(database, message, mail, recipients, labels, unless=unless)


def shared_content_of(message: OutboxMessage) -> SharedContent:
    """The message's shared content, during its retention. Raises msgspec.MsgspecError and Undecryptable."""
    return msgspec.json.decode(encryption.decrypt(message.content or b""), type=SharedContent)


def personalizations_of(mail: Mail) -> list[Personalization]:
    """The mail's personalizations, during their retention. Raises msgspec.MsgspecError and Undecryptable."""
    return msgspec.json.decode(encryption.decrypt(mail.personalizations or b""), type=list[Personalization])


def stored(content: SharedContent | Sequence[Personalization]) -> bytes:
    """The shared content, or the personalizations, as their column keeps them."""
    return encryption.encrypt(msgspec.json.encode(content))


def files_of(message: OutboxMessage) -> list[AttachedFile]:
    """The message's attachments in their order, during the retention of the content. Raises Undecryptable."""
    return [
        AttachedFile(
            filename=row.filename,
            type=row.type,
            content_id=row.content_id,
            content=encryption.decrypt(row.content),
        )
        for row in message.attachments.order_by("pk")
    ]


def _attachment(message: OutboxMessage, file: AttachedFile) -> Attachment:
    return Attachment(message=message, **{**asdict(file), "content": encryption.encrypt(file.content)})


def _message(composed: ComposedMail, alias: str, now: datetime | Now) -> OutboxMessage:
    return OutboxMessage(
        created_at=now,
        alias=alias,
        subject=str(composed.shared.body.get("subject", "")).replace("\0", "")[:200],
        content=stored(composed.shared),
    )


def _labels(message: OutboxMessage, shared: SharedContent) -> list[MessageLabel]:
    tags, metadata = shared.body.get("categories", []), shared.body.get("custom_args", {})
    # esp_extra may have replaced either of the two with anything.
    pairs = [("", tag) for tag in tags] if isinstance(tags, list) else []
    if isinstance(metadata, dict):
        pairs += [(name, text) for name, text in metadata.items() if clean(name)]
    labels = dict.fromkeys(label(name, written) for name, written in pairs if isinstance(written, str))
    return [MessageLabel(message=message, name=name, value=text) for name, text in [*labels][:MOST_LABELS]]


def label(name: str, text: str) -> tuple[str, str]:
    """The name and the text of a label, as its row has them. A tag has an empty name."""
    return clean(name)[: MessageLabel.MOST_NAME], clean(text)[: MessageLabel.MOST_VALUE]


def _mail(
    message: OutboxMessage,
    lane: Mail.Lane,
    shared: SharedContent,
    personalizations: Sequence[Personalization],
) -> Mail:
    now = message.created_at
    send_at = sending_time(shared, personalizations)
    if send_at:
        # The age limit counts from send_at, so a mail for a distant time would never fail.
        longest = MAX_SCHEDULE_AHEAD + timedelta(seconds=conf.MAX_AGE.get())
        send_at = min(send_at, timezone.now() + longest)
    return Mail(
        message=message,
        lane=lane,
        alias=message.alias,
        created_at=now,
        due=now,
        send_at=send_at,
        recipient_count=count_recipients(personalizations),
        personalizations=stored(personalizations),
        traceparent=current_traceparent() or None,
    )


def _screened(mail: Mail, personalizations: Sequence[Personalization], suppressed: Mapping[str, str]) -> Mail:
    screened = screen(personalizations, suppressed)
    if not screened.kept:
        # The mail keeps its recipients: an operator can post the mail once they are no longer suppressed.
        mail.state, mail.finished_at, mail.error = Mail.State.REJECTED, mail.created_at, ALL_SUPPRESSED
    elif screened.left_out:
        mail.personalizations = stored(screened.kept)
        mail.recipient_count = count_recipients(screened.kept)
    return mail


def count_recipients(personalizations: Sequence[Personalization]) -> int:
    """The number of recipients, copies in a batch included."""
    return sum(len(personalization.recipients) for personalization in personalizations)


def _recipients(mail: Mail, personalizations: Sequence[Personalization]) -> list[Recipient]:
    # A row per personalization and address. Two equal addresses in a personalization are a mistake that
    # SendGrid refuses, or addresses of more than 320 characters that differ after these.
    rows: dict[tuple[str, str], Recipient] = {}
    for personalization in personalizations:
        for role, addresses in (
            (Recipient.Kind.TO, personalization.to),
            (Recipient.Kind.CC, personalization.cc),
            (Recipient.Kind.BCC, personalization.bcc),
        ):
            for recipient in addresses:
                address = row_address(recipient["email"])
                row = Recipient(
                    mail=mail, message_id=uuid.UUID(personalization.id), address=address, kind=role
                )
                rows.setdefault((personalization.id, address), row)
    return list(rows.values())
