"""Saves inbound mails and reads them for receivers. Else only an erasure writes `InboundMail`."""

import time
from hashlib import sha256
from io import BytesIO

from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections, router, transaction

from events_app.decode import Unreadable
from events_app.dispatch.kinds import Kind, Unavailable
from events_app.inbound import storage
from events_app.inbound.message import InboundMessage
from events_app.inbound.parse.form import read_form
from events_app.inbound.parse.post import ParsedPost, read_post
from events_app.models import ERASED, InboundMail, PendingInboundDelivery
from events_app.shared import counters
from events_app.shared.addresses import comparable
from events_app.shared.counting import count
from events_app.shared.database import clean, database_now
from events_app.shared.log import failures
from events_app.shared.tracing import current_traceparent
from events_app.signals import InboundEvent, answered, inbound


def save_mail(webhook: str, *, file: str, size: int, digest: bytes, content_type: str) -> None:
    """Save the row of a post whose body is in the storage, with a pending delivery.

    The delivery gets the current span, if that is sampled. Raises database errors.
    """
    using = router.db_for_write(InboundMail)
    with transaction.atomic(using=using):
        received_at = database_now(using)
        mail = InboundMail.objects.using(using).create(
            file=file,
            size=size,
            digest=digest,
            content_type=clean(content_type)[:255],
            received_at=received_at,
            webhook=webhook,
        )
        PendingInboundDelivery.objects.using(using).create(
            mail=mail, due=received_at, traceparent=current_traceparent()
        )


def is_saved(file: str) -> bool:
    """Whether the post in this file has a row. Raises database errors."""
    using = router.db_for_write(InboundMail)
    if not connections[using].in_atomic_block:  # else a test's transaction
        connections[using].close_if_unusable_or_obsolete()  # the save may just have broken the connection
    return InboundMail.objects.filter(file=file).exists()


def read_mail(mail: InboundMail) -> InboundEvent:
    """The mail for a receiver; the first reading also fills the row's columns.

    Raises Unreadable for a malformed post, Unavailable when the storage fails, and database errors.
    """
    reading = parse_mail(mail)
    if mail.key is None:
        message = reading.message
        sender, recipient = message.from_email, message.envelope_recipient
        mail.key = reading.key
        mail.message_id = (message.message_id or "")[:255]
        mail.answers = (_answers(message) or "")[:255]
        mail.sender = comparable(sender.addr_spec if sender else "")[:320]
        mail.recipient = comparable(recipient or "")[:320]
        mail.subject = (message.subject or "")[:200]
        _save_columns(mail)
    # On every reading: a worker may have died, or lost the database, after saving the key.
    if mail.duplicate_of_id is None:
        _mark_duplicates(mail)
    return InboundEvent(
        message=reading.message,
        event_id=str(mail.pk),
        timestamp=mail.received_at,
        answers=mail.answers or None,
        duplicate_of=None if mail.duplicate_of_id is None else str(mail.duplicate_of_id),
        esp_event=reading.fields,
    )


def _save_columns(mail: InboundMail) -> None:
    """Save what a reading has found. Raises Unreadable if a person was erased from the mail meanwhile."""
    names = ("key", "message_id", "answers", "sender", "recipient", "subject")
    columns = {name: getattr(mail, name) for name in names}
    # An erasure changes the name of the file. Its columns must stay without the person.
    if not InboundMail.objects.filter(pk=mail.pk, file=mail.file).update(**columns):
        raise Unreadable(_ERASED_MAIL)


INBOUND_MAILS = Kind("inbound mail", "inbound", PendingInboundDelivery, inbound, read_mail)


_ERASED_MAIL = "A person was erased, and the mail with the person's data."

#: The most CPU seconds for the reading of a mail. The bounds of the parsers allow far fewer.
LONGEST_READING = 10


def parse_mail(mail: InboundMail) -> ParsedPost:
    """The content of the post, parsed without saving; raises Unreadable or Unavailable."""
    if mail.file.startswith(ERASED):
        raise Unreadable(_ERASED_MAIL)
    return parse_body(body(mail), mail.content_type)


def parse_body(post: bytes, content_type: str) -> ParsedPost:
    """The content of a post's body. Raises Unreadable."""
    began = time.thread_time()
    try:
        return read_post(read_form(BytesIO(post), content_type))
    except SoftTimeLimitExceeded:
        # Earlier mails may have used up the task's time: this mail is not to blame.
        if time.thread_time() - began < LONGEST_READING:
            raise
    # A second reading would hold the next worker for as long.
    raise Unreadable(f"The mail takes more than {LONGEST_READING} seconds to be read.")


def body(mail: InboundMail) -> bytes:
    """The body of the post; raises Unavailable when the storage cannot deliver it now."""
    if mail.file.startswith(ERASED):
        raise Unavailable(_ERASED_MAIL)
    try:
        post = storage.read_file(mail.file)
    except ImproperlyConfigured as error:
        raise Unavailable(str(error)) from None
    except FileNotFoundError:
        # Usually the worker's storage is a different folder from web's. No mail is lost: mend and retry.
        raise Unavailable(
            "The file with the post is not in the storage. Does this worker use the same storage as web?"
        ) from None
    except Exception as error:  # each storage has errors of its own
        raise Unavailable(f"The storage did not give the post: {type(error).__name__}.") from error
    if sha256(post).digest() != bytes(mail.digest):
        raise Unavailable("The file in the storage was changed: its SHA-256 differs from the post's.")
    return post


def _answers(message: InboundMessage) -> str | None:
    """The id of our message the mail answers. An error in the look-up never stops the mail."""
    try:
        # send_robust would log the error's text, which may contain an address.
        message_ids = [found_id for _, found_id in answered.send(None, message=message) if found_id]
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (a mail may be malformed in any way)
        failures.report("Could not look up the message an inbound mail answers", error=error)
        return None
    return clean(str(message_ids[0])) if message_ids else None


def _mark_duplicates(mail: InboundMail) -> None:
    """Mark later posts of a mail as duplicates of the first. Of two readers at once, the last sees both."""
    posts = InboundMail.objects.filter(key=mail.key)
    (first, _), *later = posts.order_by("pk").values_list("pk", "duplicate_of")
    # Usually there is none, and an update would lock rows until the end of a receiver's transaction.
    if unmarked := [pk for pk, duplicate_of in later if duplicate_of is None]:
        marked = posts.filter(pk__in=unmarked, duplicate_of=None).update(duplicate_of=first)
        count(counters.INBOUND_DUPLICATE, by=marked)
    if mail.pk != first:
        mail.duplicate_of_id = first
