"""Events of ours about recipients who are left out of a mail, as drops of SendGrid's."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.utils.crypto import salted_hmac

from events_app.shared import own_events
from events_app.shared.database import clean
from events_app.signals import RejectReason
from sending_app.api.payload import build_personalization
from sending_app.mail import SharedContent
from sending_app.screening import LeftOut

#: SendGrid's words for the reasons of drops (Event Webhook Reference).
_WORDS = {
    RejectReason.BOUNCED: "Bounced Address",
    RejectReason.INVALID: "Invalid",
    RejectReason.SPAM: "Spam Reporting Address",
    RejectReason.UNSUBSCRIBED: "Unsubscribed Address",
    RejectReason.BLOCKED: "Blocked",
    RejectReason.OTHER: "No recipient in to is left",
}


def raw_events(shared: SharedContent, left_out: Iterable[LeftOut], seconds: int) -> own_events.RawEvents:
    """An event for each recipient. `seconds` is the time of the events, since 1970."""
    shared_args, categories = shared.body.get("custom_args"), shared.body.get("categories")
    asm = shared.body.get("asm")
    of_the_mail: dict[str, Any] = {"timestamp": seconds, own_events.MARK: own_events.SUPPRESSED}
    if isinstance(categories, list) and categories:
        of_the_mail["category"] = categories
    if isinstance(asm, dict) and "group_id" in asm:
        of_the_mail["asm_group_id"] = asm["group_id"]
    return [
        {
            **(shared_args if isinstance(shared_args, dict) else {}),
            # With the id.
            **build_personalization(shared, personalization).get("custom_args", {}),
            **of_the_mail,
            "event": "dropped",
            "email": clean(email),
            "reason": _WORDS[RejectReason(reason)],
            "sg_event_id": _event_id(personalization.id, email),
        }
        for personalization, email, reason in left_out
    ]


def _event_id(message_id: str, email: str) -> str:
    """The same in a repeated attempt. An erasure leaves the id: without SECRET_KEY it tells no address."""
    digest = salted_hmac(__name__, f"{message_id}\0{clean(email)}", algorithm="sha256").digest()
    return str(uuid.UUID(bytes=digest[:16]))
