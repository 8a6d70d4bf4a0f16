"""SendGrid's events about our mails, and inbound mails that answer them."""

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import InboundMail
from events_app.normalize import normalize
from events_app.signals import TrackingEvent
from sending_app import outbox
from sending_app.models import Mail, Recipient
from tests.support.events.stored_events import stream_entries

#: Timestamp of an event at second 0.
EVENT_TIME = 1_784_030_400

#: Two requests' X-Message-Id.
FIRST_REQUEST, SECOND_REQUEST = "A" * 22, "B" * 22

#: Fields that belong to a kind.
BOUNCES = {
    "bounce": {"type": "bounce", "bounce_classification": "Invalid Address"},
    "blocked": {"event": "bounce", "type": "blocked"},
    "dropped": {"reason": "Spam Reporting Address"},
}

_ids = itertools.count()


def event_payload(
    kind: str, recipient: Recipient, seconds: int = 0, base: str = FIRST_REQUEST, **fields: Any
) -> dict[str, Any]:
    """A raw event as SendGrid posts it, with a new id each time."""
    return {
        "event": kind,
        "email": recipient.address,
        "timestamp": EVENT_TIME + seconds,
        "anymail_id": str(recipient.message_id),
        "sg_event_id": f"event-{next(_ids)}",
        "sg_message_id": f"{base}.recvd-6b8f5d9c7-lq4zt-1-6A01C2D3-5.0",
        **BOUNCES.get(kind, {}),
        **fields,
    }


def normalized_event(
    kind: str, recipient: Recipient, seconds: int = 0, base: str = FIRST_REQUEST, **fields: Any
) -> TrackingEvent:
    return normalize(event_payload(kind, recipient, seconds, base, **fields))


def receive_events(*posted: dict[str, Any], at: datetime | None = None) -> None:
    """Store these events as posted now, or at another time."""
    milliseconds = (at or datetime.now(UTC)).timestamp() * 1000
    made = stream_entries(*(json.loads(json.dumps(one)) for one in posted))
    store.store([one._replace(id=b"%d-%d" % (milliseconds, n)) for n, one in enumerate(made)], Lease())


def stored_recipients(part: Mail | None = None) -> list[Recipient]:
    found = Recipient.objects.using(outbox.using()).order_by("pk")
    return list(found.filter(mail=part) if part else found)


NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)


def after_noon(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def last_message_id() -> str:
    """The id of the newest recipient."""
    return str(Recipient.objects.latest("pk").message_id)


def event_of_last_mail(seconds: int, name: str, to: str = "ann@example.com", **fields: Any) -> dict[str, Any]:
    """A raw event of the newest recipient, so many seconds after noon."""
    when = int(after_noon(seconds).timestamp())
    found = {"event": name, "email": to, "timestamp": when, "sg_event_id": uuid.uuid4().hex}
    return {**found, "anymail_id": last_message_id(), **fields}


def answer_to_last_mail(
    seconds: float, answers: str = "", sender: str = "ann@example.com", **columns: Any
) -> InboundMail:
    """An inbound mail that answers the newest recipient, or the given id."""
    found = {"subject": "Re: Your order", "received_at": after_noon(seconds), **columns}
    return InboundMail.objects.create(
        file=uuid.uuid4().hex,
        size=1,
        digest=b"",
        answers=answers or last_message_id(),
        sender=sender,
        **found,
    )
