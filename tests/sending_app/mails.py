"""Mails to put into the outbox, without the way there from a Django message."""

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


def envelope(*to: str, cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Envelope:
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
    """A mail to these, or to one; `body` stands beside what every request has."""
    addresses = to or ("ann@example.com",)
    each = [envelope(one, cc=cc, bcc=bcc) for one in addresses]
    return Mail(
        common=Common(body={**BODY, **body}, tracked=tracked),
        envelopes=each if batch else [envelope(*addresses, cc=cc, bcc=bcc)],
        attachments=list(attachments),
        is_batch=batch,
        bulk=bulk,
    )


def kept(found: Mail | None = None, alias: str = "default", bulk_above: int = 100) -> OutboxMessage:
    """The mail, or one to one recipient, in the outbox."""
    outbox.keep(found or mail(), alias, bulk_above)
    return OutboxMessage.objects.using(outbox.using()).latest("pk")


def parts() -> list[Part]:
    """All there are, in the order of their making, as the database has them."""
    return list(Part.objects.using(outbox.using()).select_related("message").order_by("pk"))


def part() -> Part:
    """The only one there is."""
    (only,) = parts()
    return only
