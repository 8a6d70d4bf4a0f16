"""The models: events, inbound mails, and the pending deliveries to receivers."""

from events_app.models.event import Event, NewEvent
from events_app.models.inbound import InboundMail
from events_app.models.pending import (
    LEASED,
    PENDING,
    RELEASED,
    TO_RETRY,
    AbstractPendingDelivery,
    PendingDelivery,
    PendingInboundDelivery,
)

__all__ = [
    "LEASED",
    "PENDING",
    "RELEASED",
    "TO_RETRY",
    "AbstractPendingDelivery",
    "Event",
    "InboundMail",
    "NewEvent",
    "PendingDelivery",
    "PendingInboundDelivery",
]
