"""Inbound mails from a person, to a person, or that mention the person: their rows and files."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, transaction

from events_app.decode import Unreadable
from events_app.dispatch.leases import events_database, pending_rows, stored_rows
from events_app.inbound import storage
from events_app.inbound.parse.post import ParsedPost
from events_app.inbound.store import INBOUND_MAILS, parse_body
from events_app.models import ERASED, InboundMail
from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, ErasureFailed, Place

#: Mails, or files, of a slice. Each file is read.
SLICE = 50

#: A younger file without a row may belong to a post that is just arriving.
YOUNGEST = timedelta(hours=1)

_MAILS, _FILES = "inbound mails", "files without a mail"


def count(person: Person) -> Iterator[Counts]:
    for mails in _mails():
        yield Counter({_MAILS: sum(_is_about(person, mail) for mail in mails)})


def erase(person: Person) -> Iterator[Counts]:
    """Empties the rows and removes the files. The key stays, so that a repeat is a duplicate."""
    for mails in _mails():
        about = [mail for mail in mails if _is_about(person, mail)]
        for mail in about:
            _empty(person, mail)
        yield Counter({_MAILS: len(about)})


def count_files(person: Person) -> Iterator[Counts]:
    for files in _files_without_mail():
        yield Counter({_FILES: sum(person.is_in(_read(file)) for file in files)})


def erase_files(person: Person) -> Iterator[Counts]:
    for files in _files_without_mail():
        about = [file for file in files if person.is_in(_read(file))]
        for file in about:
            with _storage_errors():
                storage.remove_file(file)
        yield Counter({_FILES: len(about)})


def _mails() -> Iterator[list[InboundMail]]:
    return slices(stored_rows(INBOUND_MAILS), SLICE)


def _is_about(person: Person, mail: InboundMail) -> bool:
    columns = (mail.sender, mail.recipient, mail.subject, mail.message_id, mail.answers, mail.content_type)
    if any(person.is_in(column) for column in columns):
        return True
    if mail.file.startswith(ERASED):
        return False
    post = _read(mail.file)
    return person.is_in(post) or _is_in_message(person, _parsed(post, mail.content_type))


def _is_in_message(person: Person, reading: ParsedPost | None) -> bool:
    """Whether the address stands in the decoded mail: in any charset and transfer encoding."""
    if reading is None:
        return False
    message = reading.message
    texts = [*reading.fields.values()]
    for part in message.walk():
        texts += map(str, part.values())
        if part.get_content_maintype() == "text":
            texts.append(part.get_content_text())
    return any(person.is_in(text) for text in texts)


def _empty(person: Person, mail: InboundMail) -> None:
    # For the key of a mail that no worker has read.
    reading = (
        None if mail.key or mail.file.startswith(ERASED) else _parsed(_read(mail.file), mail.content_type)
    )
    key = reading.key if reading else mail.key
    with transaction.atomic(using=events_database()):
        pending_rows(INBOUND_MAILS).filter(pk=mail.pk).delete()
        stored_rows(INBOUND_MAILS).filter(pk=mail.pk).update(
            file=f"{ERASED}{mail.pk}",
            size=0,
            digest=b"",
            content_type="",
            key=key,
            message_id="",
            answers=person.redact(mail.answers)[:255],
            sender=person.pseudonym if mail.sender in person.addresses else person.redact(mail.sender)[:320],
            recipient=(
                person.pseudonym
                if mail.recipient in person.addresses
                else person.redact(mail.recipient)[:320]
            ),
            subject="",
        )
    if not mail.file.startswith(ERASED):
        with _storage_errors():
            storage.remove_file(mail.file)


def _parsed(post: bytes, content_type: str) -> ParsedPost | None:
    try:
        return parse_body(post, content_type)
    except Unreadable:
        return None


def _files_without_mail() -> Iterator[list[str]]:
    if not storage.is_configured():
        return
    with _storage_errors():
        files = storage.older_than(datetime.now(UTC) - YOUNGEST)
        while names := list(islice(files, SLICE)):
            of_mails = set(stored_rows(INBOUND_MAILS).filter(file__in=names).values_list("file", flat=True))
            yield [name for name in names if name not in of_mails]


def _read(name: str) -> bytes:
    """The file, empty if missing."""
    with _storage_errors():
        try:
            return storage.read_file(name)
        except FileNotFoundError:  # removed in the meantime, or in the storage of another server
            return b""


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded, ErasureFailed):
        raise
    except Exception as error:  # each storage has errors of its own
        raise ErasureFailed(
            f"The storage of inbound mails failed ({storage.describe_error(error)}). "
            "Mend it and run the erasure again."
        ) from error


MAILS = Place("inbound mails", count, erase)
FILES = Place("files without a mail", count_files, erase_files)
