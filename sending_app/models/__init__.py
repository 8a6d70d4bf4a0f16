"""The models: the outbox, recipients, accounts, suppressed addresses, and hourly counts."""

from sending_app.models.accounts import OpenCircuit, WebhookActivity
from sending_app.models.hourly import LATENCY, SENT, HourlyCount, UnfoldedCounts
from sending_app.models.outbox import FINAL, Attachment, Mail, MessageLabel, OutboxMessage, still_in
from sending_app.models.recipient import TROUBLE, TROUBLES, Recipient
from sending_app.models.suppression import Suppression

__all__ = [
    "FINAL",
    "LATENCY",
    "SENT",
    "TROUBLE",
    "TROUBLES",
    "Attachment",
    "HourlyCount",
    "Mail",
    "MessageLabel",
    "OpenCircuit",
    "OutboxMessage",
    "Recipient",
    "Suppression",
    "UnfoldedCounts",
    "WebhookActivity",
    "still_in",
]
