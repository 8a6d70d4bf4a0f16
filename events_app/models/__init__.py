"""What the database keeps: all that came in, and what receivers are still owed of it."""

from events_app.models.event import Event, NewEvent
from events_app.models.inbound import InboundMail
from events_app.models.work import CLAIMED, OWED, RELEASED, TO_RETRY, InboundWork, Owing, Work

__all__ = [
    "CLAIMED",
    "OWED",
    "RELEASED",
    "TO_RETRY",
    "Event",
    "InboundMail",
    "InboundWork",
    "NewEvent",
    "Owing",
    "Work",
]
