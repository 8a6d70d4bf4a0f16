"""Inbound mails as they are kept: the only writer of `InboundMail`."""

import logging
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
from events_app.inbound.parse import form
from events_app.inbound.parse import post as parse_post
from events_app.inbound.parse.post import Reading
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared import counters
from events_app.shared.database import clean, database_now
from events_app.signals import InboundEvent, answered, inbound

logger = logging.getLogger(__name__)


def save(webhook: str, *, file: str, size: int, digest: bytes, content_type: str) -> None:
    """Note a post whose body is in the storage; from here on its delivery is pending.

    Raises what the database raises.
    """
    using = router.db_for_write(InboundMail)
    with transaction.atomic(using=using):
        now = database_now(using)
        mail = InboundMail.objects.using(using).create(
            file=file,
            size=size,
            digest=digest,
            content_type=clean(content_type)[:255],
            received_at=now,
            webhook=webhook,
        )
        PendingInboundDelivery.objects.using(using).create(mail=mail, due=now)


def is_saved(file: str) -> bool:
    """Whether the post in this file is noted. Raises what the database raises."""
    using = router.db_for_write(InboundMail)
    connections[using].close_if_unusable_or_obsolete()  # it may have failed us just now
    return InboundMail.objects.using(using).filter(file=file).exists()


def read(mail: InboundMail) -> InboundEvent:
    """The mail for a receiver; what is found in it is noted on the row.

    Raises Unreadable where it is none, Unavailable where the storage does not give it, and what the
    database raises.
    """
    found = parse(mail)
    if mail.key is None:
        _save_parsed(mail, found)
    # Each time: a worker may have died, or met no database, right after it noted the key.
    if mail.duplicate_of_id is None:
        _mark_duplicates(mail)
    return InboundEvent(
        message=found.message,
        event_id=str(mail.pk),
        timestamp=mail.received_at,
        answers=mail.answers or None,
        duplicate_of=None if mail.duplicate_of_id is None else str(mail.duplicate_of_id),
        esp_event=found.fields,
    )


#: Inbound mails, as `dispatch.leases` and `dispatch` know them.
INBOUND_MAILS = Kind("inbound mail", PendingInboundDelivery, inbound, read)


#: CPU seconds that the reading of a mail may take. Its work is bounded to far fewer.
LONGEST_READING = 10

_NOT_THERE = "The file with the post is not in the storage."


def parse(mail: InboundMail) -> Reading:
    """What the post says as it is read today, with nothing noted; raises Unreadable or Unavailable."""
    post = BytesIO(body(mail))
    began = time.thread_time()
    try:
        return parse_post.read(form.read(post, mail.content_type))
    except SoftTimeLimitExceeded:
        # The mails before it may have used up the task's time: that is no fault of this one.
        if time.thread_time() - began < LONGEST_READING:
            raise
    # To read it again would hold another worker for as long.
    raise Unreadable(f"The mail takes more than {LONGEST_READING} seconds to be read.")


def body(mail: InboundMail) -> bytes:
    """The body of the post; raises Unavailable where it cannot be had now."""
    try:
        found = storage.read(mail.file)
    except ImproperlyConfigured as error:
        raise Unavailable(str(error)) from None
    except FileNotFoundError:
        # Mostly a worker that sees another folder than web: to be mended, and no mail lost to it.
        raise Unavailable(f"{_NOT_THERE} Does this worker reach the one web has?") from None
    except Exception as error:  # each storage has errors of its own
        raise Unavailable(f"The storage did not give the post: {type(error).__name__}.") from error
    if sha256(found).digest() != bytes(mail.digest):
        raise Unavailable("The file in the storage is not what was posted: its SHA-256 is another.")
    return found


def _save_parsed(mail: InboundMail, found: Reading) -> None:
    message = found.message
    sender, recipient = message.from_email, message.envelope_recipient
    mail.key = found.key
    mail.message_id = (message.message_id or "")[:255]
    mail.answers = (_answers(message) or "")[:255]
    mail.sender = (sender.addr_spec if sender else "").lower()[:320]
    mail.recipient = (recipient or "").lower()[:320]
    mail.subject = (message.subject or "")[:200]
    mail.save(update_fields=["key", "message_id", "answers", "sender", "recipient", "subject"])


def _answers(message: InboundMessage) -> str | None:
    """Whoever keeps our messages may be wrong about it, but not in the way of a mail."""
    try:
        # Not send_robust, which logs what an error says, and that may be an address.
        said = [found for _, found in answered.send(None, message=message) if found]
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (anything may be wrong with a mail)
        logger.error("What a mail answers cannot be told: %s", type(error).__name__)
        return None
    return clean(str(said[0])) if said else None


def _mark_duplicates(mail: InboundMail) -> None:
    """Later posts of a mail are duplicates of its first. Two may be read at once: the later sees both."""
    posts = InboundMail.objects.using(router.db_for_write(InboundMail)).filter(key=mail.key)
    (first, _), *later = posts.order_by("pk").values_list("pk", "duplicate_of")
    # Mostly there are none: an update would lock rows for as long as a receiver's transaction lasts.
    if unmarked := [pk for pk, duplicate_of in later if duplicate_of is None]:
        posts.filter(pk__in=unmarked).update(duplicate_of=first)
    if mail.pk != first:
        mail.duplicate_of_id = first
        counters.count(counters.MAIL_DUPLICATE)
