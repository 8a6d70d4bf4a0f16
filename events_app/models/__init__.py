"""What the database keeps: all that came in, and what receivers are still owed of it."""

from events_app.models.clock import database_now, its_now
from events_app.models.event import Event
from events_app.models.inbound import InboundMail
from events_app.models.work import (
    CLAIMED,
    OWED,
    RELEASED,
    TO_RETRY,
    DatabaseAway,
    InboundWork,
    Owing,
    Work,
)

__all__ = [
    "CLAIMED",
    "OWED",
    "RELEASED",
    "TO_RETRY",
    "DatabaseAway",
    "Event",
    "InboundMail",
    "InboundWork",
    "Owing",
    "Work",
    "database_now",
    "its_now",
]
