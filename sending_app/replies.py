"""Find the mail that an inbound mail replies to.

First by our id in a recipient's address, then by the Message-IDs in the headers. Anybody can forge both: a
match does not prove the sender.
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sending_app.filters import address_forms, of_requests
from sending_app.models import Recipient

if TYPE_CHECKING:
    from events_app.inbound.message import InboundMessage

#: Most ids and Message-IDs of a reply to look up, nearest first.
MAX_IDS = 20

#: Size of the address column of recipients.
_MAX_ADDRESS = 320

# Anywhere between delimiters: "support+<id>", "<id>", "reply.<id>" ...
_ID = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f])",
    re.IGNORECASE | re.ASCII,
)
# The form of SendGrid's X-Message-Id; old ids have dots inside.
_X_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def answered(message: "InboundMessage", **_: Any) -> str | None:
    """The id of the mail that the message replies to: the receiver of `events_app.signals.answered`.

    Lets errors of the database through.
    """
    headers = (address.addr_spec for address in (*message.to, *message.cc))
    candidates = _ids(_local_part(address) for address in (*message.envelope_recipients, *headers))
    known = _known(candidates)
    by_address = next((message_id for message_id in candidates if message_id in known), None)
    message_id = by_address or _by_reference(message)
    return None if message_id is None else str(message_id)


def _by_reference(message: "InboundMessage") -> uuid.UUID | None:
    # References lists the whole thread; the direct parent comes last.
    references = dict.fromkeys((*message.in_reply_to, *reversed(message.references)))
    names = [_local_part(reference.strip("<>")) for reference in references][:MAX_IDS]
    known = _known(_ids(names))
    # SendGrid has been seen to use a Message-ID like "<X-Message-Id@geopod-ismtpd-4>" for all mails of a
    # request. No document promises the form.
    requests = of_requests([name for name in names if _X_MESSAGE_ID.fullmatch(name)])
    mails = dict(requests.values_list("x_message_id", "pk")[:MAX_IDS])
    from_email = message.from_email.addr_spec if message.from_email else None
    addresses = (from_email, message.envelope_sender)
    senders = [address_forms(address) for address in addresses if address and len(address) <= _MAX_ADDRESS]
    for name in names:
        if matches := known.intersection(_ids([name])):
            return matches.pop()
        if name in mails and (message_id := _only_id(mails[name], senders)):
            return message_id
    return None


def _local_part(address: str) -> str:
    return address.rpartition("@")[0]


def _ids(texts: Iterable[str]) -> list[uuid.UUID]:
    """Texts that look like our ids, the first `MAX_IDS`."""
    return [uuid.UUID(match) for text in texts for match in _ID.findall(text)][:MAX_IDS]


def _known(ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Ids that the outbox has."""
    rows = Recipient.objects.filter(message_id__in=ids)
    return set(rows.values_list("message_id", flat=True).distinct())


def _only_id(mail: int, senders: Iterable[set[str]]) -> uuid.UUID | None:
    """The mail's id if the mail has a single id, else the single id of a sender.

    `senders` are the forms of the sender's addresses as a recipient: of From, then of the envelope.
    """
    rows = Recipient.objects.filter(mail=mail).order_by()
    for recipients in (rows, *(rows.filter(address__in=addresses) for addresses in senders)):
        ids = list(recipients.values_list("message_id", flat=True).distinct()[:2])
        if len(ids) == 1:
            return ids[0]
    return None
