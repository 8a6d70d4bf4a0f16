"""The models: events, inbound mails, pending deliveries to receivers, hourly counts, and erased persons."""

from events_app.models.erased import ErasedPerson
from events_app.models.event import RARE_TYPES, Event, NewEvent
from events_app.models.hourly import HourlyCount, UnfoldedCounts
from events_app.models.inbound import ERASED, InboundMail
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
    "ERASED",
    "LEASED",
    "PENDING",
    "RARE_TYPES",
    "RELEASED",
    "TO_RETRY",
    "AbstractPendingDelivery",
    "ErasedPerson",
    "Event",
    "HourlyCount",
    "InboundMail",
    "NewEvent",
    "PendingDelivery",
    "PendingInboundDelivery",
    "UnfoldedCounts",
]
