"""The models: events, inbound mails, the pending deliveries to receivers, and hourly counts."""

from events_app.models.event import RARE_TYPES, Event, NewEvent
from events_app.models.hourly import HourlyCount, UnfoldedCounts
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
    "RARE_TYPES",
    "RELEASED",
    "TO_RETRY",
    "AbstractPendingDelivery",
    "Event",
    "HourlyCount",
    "InboundMail",
    "NewEvent",
    "PendingDelivery",
    "PendingInboundDelivery",
    "UnfoldedCounts",
]
