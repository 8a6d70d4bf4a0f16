"""Forget a person in the content of messages: texts, personalizations, attachments and labels.

A message to the person alone loses its content, as at the end of its retention. A message to others too
loses the person's personalizations; the address is replaced by the pseudonym in all other content.

Each message has a transaction. Scans hold no lock. Content in compressed files is not found.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from django.db import transaction

from events_app.shared.database import database_now, slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts
from sending_app import encryption, retention
from sending_app.encryption import Undecryptable
from sending_app.models import FINAL, Attachment, Mail, MessageLabel, OutboxMessage, Recipient, still_in
from sending_app.outbox import using
from sending_app.outcome import recipients as statuses
from sending_app.outcome import record
from sending_app.personal_data.personalizations import strip

#: Messages that one step looks at.
SLICE = 100

#: Contents, and attachments, that are in memory at a time.
FEW, FEWER = 20, 2

EMPTIED = "messages without other recipients"
REMOVED = "personalizations"
TEXTS = "texts"
FILES = "attachments"
CANCELLED = "mails not yet sent"
#: A worker has the content in its hands.
POSTING = "mails left alone because a worker posts them: run again"
UNREADABLE = "contents left alone because they cannot be read"

_CANCELLED = "Cancelled: the recipient was erased."

# Not an empty file: SendGrid refuses one (Mail Send API), and the others are to get their mail.
_FILE = {"filename": "removed.txt", "type": "text/plain", "content_id": None}
_FILE_CONTENT = b"This file was removed: it named a person whose data was erased.\n"


def messages(person: Person, erases: bool) -> Iterator[Counts]:
    """Erase the person in the content of messages, or only count, and yield the counts of each slice."""
    for rows in slices(OutboxMessage.objects.filter(content__isnull=False).only("pk"), SLICE):
        counts: Counts = Counter()
        for pk in sorted(_mentioning(person, [row.pk for row in rows])):
            with transaction.atomic(using=using()):
                counts += _erase(person, pk)
                if not erases:
                    transaction.set_rollback(True, using=using())
        yield counts


def own_addresses(person: Person) -> list[str]:
    """The person's addresses in rows, also in those of an earlier erasure."""
    return [*person.addresses, person.pseudonym]


def _mentioning(person: Person, pks: list[int]) -> set[int]:
    """The messages to the person, those that mention the address, and those that cannot be read."""
    own = Recipient.objects.filter(mail__message__in=pks, address__in=own_addresses(person))
    mentioning = set(own.values_list("mail__message", flat=True))
    rows: Any
    columns: tuple[tuple[Any, int, tuple[str, ...]], ...] = (
        (OutboxMessage.objects.filter(pk__in=pks), FEW, ("subject", "content")),
        (Mail.objects.filter(message__in=pks), FEW, ("personalizations",)),
        (Attachment.objects.filter(message__in=pks), FEWER, ("filename", "content_id", "content")),
        (MessageLabel.objects.filter(message__in=pks), SLICE, ("name", "value")),
    )
    for queryset, size, names in columns:
        for rows in slices(queryset, size):
            for row in rows:
                pk = row.pk if isinstance(row, OutboxMessage) else row.message_id
                if pk not in mentioning and any(_is_in(person, getattr(row, name)) for name in names):
                    mentioning.add(pk)
    return mentioning


def _is_in(person: Person, column: str | bytes | memoryview | None) -> bool:
    try:
        text = column if isinstance(column, str) else encryption.decrypt(column or b"")
    except Undecryptable:
        return True
    return person.is_in(text)


def _erase(person: Person, pk: int) -> Counts:
    """Erase the person in a message, in a transaction. Return what was changed."""
    # Locked in the order of retention: the mails by id, then the message.
    mails = Mail.objects.filter(message=pk).order_by("pk")
    pks = list(mails.select_for_update().values_list("pk", flat=True))
    message = OutboxMessage.objects.filter(pk=pk, content__isnull=False).select_for_update().first()
    if message is None:
        return Counter()
    recipients = Recipient.objects.filter(mail__message=pk)
    own = recipients.filter(address__in=own_addresses(person)).values_list("message_id", flat=True)
    ids = {str(message_id) for message_id in own}
    if ids and not recipients.exclude(address__in=own_addresses(person)).exists():
        return _empty(message)
    counts: Counts = Counter()
    for mail_pk in pks:
        counts += _strip(person, Mail.objects.get(pk=mail_pk), ids)
    return counts + _redact(person, message) + _redact_files(person, message)


def _empty(message: OutboxMessage) -> Counts:
    """Remove the content of a message to the person alone."""
    mails = message.mails.order_by("pk").defer("personalizations")
    if posting := mails.filter(still_in(Mail.State.POSTING)).count():
        return Counter({POSTING: posting})
    unfinished = list(mails.exclude(state__in=FINAL))
    retention.remove_content([message.pk])
    for mail in unfinished:
        _cancel(mail)
    return Counter({EMPTIED: 1, CANCELLED: len(unfinished)})


def _strip(person: Person, mail: Mail, ids: Collection[str]) -> Counts:
    """Take the person out of a mail to others too. `ids` name the personalizations to the person."""
    if mail.personalizations is None:
        return Counter()
    try:
        content = encryption.decrypt(mail.personalizations)
        stripped = strip(person, content, ids)
    except (Undecryptable, msgspec.MsgspecError):
        return Counter({UNREADABLE: 1})
    if stripped.content == content:
        return Counter()
    if mail.state == Mail.State.POSTING:
        return Counter({POSTING: 1})
    counts: Counts = Counter({REMOVED: len(stripped.removed), TEXTS: int(not stripped.removed)})
    row = Mail.objects.filter(pk=mail.pk)
    if not stripped.recipients:
        row.update(personalizations=None)
        if mail.state not in FINAL:
            _cancel(mail)
            counts[CANCELLED] += 1
        return counts
    changes: dict[str, Any] = {"personalizations": encryption.encrypt(stripped.content)}
    # Mails that SendGrid may have keep their number and their statuses.
    if mail.state in (Mail.State.WAITING, Mail.State.FAILED):
        changes["recipient_count"] = stripped.recipients
    row.update(**changes)
    if mail.state == Mail.State.WAITING and stripped.removed:
        statuses.mark_failed(mail, [uuid.UUID(message_id) for message_id in stripped.removed])
    return counts


def _cancel(mail: Mail) -> None:
    """Cancel an unfinished mail. The ids of its recipients stay, so events may still prove an acceptance."""
    now = database_now(using())
    changes = {
        "state": Mail.State.CANCELLED,
        "finished_at": now,
        "error": "",
        "log": record.log_with(mail, now, _CANCELLED),
    }
    if record.update_unless_accepted(Mail.objects.filter(pk=mail.pk), changes):
        statuses.mark_failed(mail)


def _redact(person: Person, message: OutboxMessage) -> Counts:
    """Replace the address in the shared content, the subject and the labels."""
    counts: Counts = Counter()
    try:
        content = encryption.decrypt(message.content or b"")
    except Undecryptable:
        return Counter({UNREADABLE: 1})
    redacted, subject = person.redact(content), person.redact(message.subject)[:200]
    if (redacted, subject) != (content, message.subject):
        row = OutboxMessage.objects.filter(pk=message.pk)
        row.update(content=encryption.encrypt(redacted), subject=subject)
        counts[TEXTS] += 1
    for label in message.labels.order_by("pk"):
        name = person.redact(label.name)[: MessageLabel.MOST_NAME]
        value = person.redact(label.value)[: MessageLabel.MOST_VALUE]
        if (name, value) != (label.name, label.value):
            MessageLabel.objects.filter(pk=label.pk).update(name=name, value=value)
            counts[TEXTS] += 1
    return counts


def _redact_files(person: Person, message: OutboxMessage) -> Counts:
    """Replace files that mention the address by a text, and the address in the names of the others."""
    counts: Counts = Counter()
    for pk in list(message.attachments.order_by("pk").values_list("pk", flat=True)):
        file = Attachment.objects.get(pk=pk)
        row = Attachment.objects.filter(pk=pk)
        try:
            is_in_content = person.is_in(encryption.decrypt(file.content))
        except Undecryptable:
            counts[UNREADABLE] += 1
            continue
        if is_in_content:
            row.update(**_FILE, content=encryption.encrypt(_FILE_CONTENT))
            counts[FILES] += 1
            continue
        filename = person.redact(file.filename)[:255]
        content_id = file.content_id and person.redact(file.content_id)[:255]
        if (filename, content_id) != (file.filename, file.content_id):
            row.update(filename=filename, content_id=content_id)
            counts[TEXTS] += 1
    return counts
