"""Events that SendGrid sends of our mails, as the pipeline normalizes them."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from events_app import inbox
from events_app.claims import Claim
from events_app.normalize import normalize
from events_app.signals import TrackingEvent
from sending_app import outbox
from sending_app.models import Part, Recipient
from tests.events_app.test_inbox import entries

#: When the first of them happened.
AT = 1_784_030_400

#: Two requests' X-Message-Id.
FIRST, SECOND = "A" * 22, "B" * 22

#: What SendGrid's words mean here.
BOUNCES = {
    "bounce": {"type": "bounce", "bounce_classification": "Invalid Address"},
    "blocked": {"event": "bounce", "type": "blocked"},
    "dropped": {"reason": "Spam Reporting Address"},
}

_ids = itertools.count()


def raw(
    kind: str, recipient: Recipient, seconds: int = 0, base: str = FIRST, **fields: Any
) -> dict[str, Any]:
    """What SendGrid posts, an event of its own each time."""
    return {
        "event": kind,
        "email": recipient.address,
        "timestamp": AT + seconds,
        "anymail_id": str(recipient.message_id),
        "sg_event_id": f"event-{next(_ids)}",
        "sg_message_id": f"{base}.recvd-6b8f5d9c7-lq4zt-1-6A01C2D3-5.0",
        **BOUNCES.get(kind, {}),
        **fields,
    }


def event(
    kind: str, recipient: Recipient, seconds: int = 0, base: str = FIRST, **fields: Any
) -> TrackingEvent:
    return normalize(raw(kind, recipient, seconds, base, **fields))


def come(*posted: dict[str, Any], at: datetime | None = None) -> None:
    """SendGrid has posted these, just now or at another time, and a drain stores them."""
    milliseconds = (at or datetime.now(UTC)).timestamp() * 1000
    made = entries(*(json.loads(json.dumps(one)) for one in posted))
    inbox.store([one._replace(id=b"%d-%d" % (milliseconds, n)) for n, one in enumerate(made)], Claim())


def recipients(part: Part | None = None) -> list[Recipient]:
    found = Recipient.objects.using(outbox.using()).order_by("pk")
    return list(found.filter(part=part) if part else found)
