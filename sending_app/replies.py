"""Which mail of ours an inbound mail answers, where that can be told.

By an id of ours in an address that it was sent to; else by a Message-ID that it says it answers. Anybody can
write either: it is no proof of who wrote.
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from sending_app.filters import forms, of_requests
from sending_app.models import Recipient
from sending_app.outbox import using

if TYPE_CHECKING:
    from events_app.inbound.message import InboundMessage

#: Ids and Message-IDs of one mail that are looked up, the nearest ones.
MAX_IDS = 20

#: Characters of an address that a recipient can have.
_MAX_ADDRESS = 320

# Wherever it stands in the text, set off: "support+<id>", "<id>", "reply.<id>" ...
_ID = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f])",
    re.IGNORECASE | re.ASCII,
)
# As SendGrid's answers have them; old ones with dots inside.
_X_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def answered(message: "InboundMessage", **_: Any) -> str | None:
    """The id of the mail it answers; the receiver of `events_app.signals.answered`.

    Raises what the database raises.
    """
    found = _by_address(message) or _by_reference(message)
    return None if found is None else str(found)


def _by_address(message: "InboundMessage") -> uuid.UUID | None:
    headers = (one.addr_spec for one in (*message.to, *message.cc))
    named = _ids(_local(one) for one in (*message.envelope_recipients, *headers))
    ours = _ours(named)
    return next((one for one in named if one in ours), None)


def _by_reference(message: "InboundMessage") -> uuid.UUID | None:
    # References has the whole thread: what is answered stands last.
    named = dict.fromkeys((*message.in_reply_to, *reversed(message.references)))
    names = [_local(one.strip("<>")) for one in named][:MAX_IDS]
    ours, mails, senders = _ours(_ids(names)), _mails(names), _senders(message)
    for name in names:
        if found := ours.intersection(_ids([name])):
            return found.pop()
        if name in mails and (answer_to := _in_mail(mails[name], senders)):
            return answer_to
    return None


def _local(address: str) -> str:
    return address.rpartition("@")[0]


def _ids(texts: Iterable[str]) -> list[uuid.UUID]:
    """What may be ids of ours, the first ones."""
    return [uuid.UUID(one) for text in texts for one in _ID.findall(text)][:MAX_IDS]


def _ours(ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of them that the outbox has."""
    rows = Recipient.objects.using(using()).filter(message_id__in=ids)
    return set(rows.values_list("message_id", flat=True).distinct())


def _mails(names: Iterable[str]) -> dict[str, int]:
    """The mails that went out in requests of these names."""
    # The mails that SendGrid makes of a request have been seen with a Message-ID of
    # "<X-Message-Id@geopod-ismtpd-4>" or the like, the same for all of them. Nobody has promised that.
    rows = of_requests([one for one in names if _X_MESSAGE_ID.fullmatch(one)])
    return dict(rows.values_list("x_message_id", "pk")[:MAX_IDS])


def _senders(message: "InboundMessage") -> list[set[str]]:
    """Who wrote it as a recipient of ours would be written: by its From, then by its envelope."""
    written = message.from_email.addr_spec if message.from_email else None
    return [forms(one) for one in (written, message.envelope_sender) if one and len(one) <= _MAX_ADDRESS]


def _in_mail(mail: int, senders: Iterable[set[str]]) -> uuid.UUID | None:
    """The only id the mail has, or the only one of a sender."""
    rows = Recipient.objects.using(using()).filter(mail=mail)
    answer_to = map(_only, (rows, *(rows.filter(address__in=one) for one in senders)))
    return next(filter(None, answer_to), None)


def _only(rows: "QuerySet[Recipient]") -> uuid.UUID | None:
    ids = list(rows.order_by().values_list("message_id", flat=True).distinct()[:2])
    return ids[0] if len(ids) == 1 else None
