"""Mails in the outbox, without a Django message."""

import uuid
from collections.abc import Sequence
from typing import Any

from sending_app import outbox
from sending_app.mail import AttachedFile, ComposedMail, Personalization, SharedContent
from sending_app.models import Mail, OutboxMessage

BODY: dict[str, Any] = {
    "from": {"email": "shop@example.com"},
    "subject": "Your order",
    "content": [{"type": "text/plain", "value": "It is on its way."}],
}


def personalization(*to: str, cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Personalization:
    return Personalization(
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
    attachments: Sequence[AttachedFile] = (),
    **body: Any,
) -> ComposedMail:
    """A mail to these addresses, or to one; `body` is merged into the usual body."""
    addresses = to or ("ann@example.com",)
    each = [personalization(one, cc=cc, bcc=bcc) for one in addresses]
    return ComposedMail(
        shared=SharedContent(body={**BODY, **body}, tracked=tracked),
        personalizations=each if batch else [personalization(*addresses, cc=cc, bcc=bcc)],
        attachments=list(attachments),
        is_batch=batch,
        bulk=bulk,
    )


def put_in_outbox(
    found: ComposedMail | None = None, alias: str = "default", bulk_above: int = 100
) -> OutboxMessage:
    """Put the mail into the outbox, or one to a single recipient."""
    outbox.keep(found or mail(), alias, bulk_above)
    return OutboxMessage.objects.using(outbox.using()).latest("pk")


def all_parts() -> list[Mail]:
    """All parts, oldest first, read from the database."""
    return list(Mail.objects.using(outbox.using()).select_related("message").order_by("pk"))


def only_part() -> Mail:
    """The only part in the outbox."""
    (only,) = all_parts()
    return only
