"""Mails in the outbox, without a Django message."""

import uuid
from collections.abc import Sequence
from typing import Any

from sending_app import outbox
from sending_app.mail import Attachment, Common, Envelope, Mail
from sending_app.models import OutboxMessage, Part

BODY: dict[str, Any] = {
    "from": {"email": "shop@example.com"},
    "subject": "Your order",
    "content": [{"type": "text/plain", "value": "It is on its way."}],
}


def personalization(*to: str, cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Envelope:
    return Envelope(
        id=str(uuid.uuid4()),
        to=[{"email": one} for one in to],
        cc=[{"email": one} for one in cc],
        bcc=[{"email": one} for one in bcc],
    )


def mail(
    *to: str,
    cc: Sequence[str] = (),
    bcc: Sequence[str] = (),
    batch: bool = False,
    bulk: bool | None = None,
    tracked: bool = True,
    attachments: Sequence[Attachment] = (),
    **body: Any,
) -> Mail:
    """A mail to these addresses, or to one; `body` is merged into the usual body."""
    addresses = to or ("ann@example.com",)
    each = [personalization(one, cc=cc, bcc=bcc) for one in addresses]
    return Mail(
        common=Common(body={**BODY, **body}, tracked=tracked),
        envelopes=each if batch else [personalization(*addresses, cc=cc, bcc=bcc)],
        attachments=list(attachments),
        is_batch=batch,
        bulk=bulk,
    )


def put_in_outbox(found: Mail | None = None, alias: str = "default", bulk_above: int = 100) -> OutboxMessage:
    """Put the mail into the outbox, or one to a single recipient."""
    outbox.keep(found or mail(), alias, bulk_above)
    return OutboxMessage.objects.using(outbox.using()).latest("pk")


def all_parts() -> list[Part]:
    """All parts, oldest first, read from the database."""
    return list(Part.objects.using(outbox.using()).select_related("message").order_by("pk"))


def only_part() -> Part:
    """The only part in the outbox."""
    (only,) = all_parts()
    return only
