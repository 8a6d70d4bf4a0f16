"""The stored events. Only an erasure changes rows. The unique key decides about duplicates."""

from datetime import datetime

import msgspec
from django.db import models

from events_app.shared.primary import PrimaryModel
from events_app.signals import EventType


class NewEvent(msgspec.Struct):
    """An event to store. An `Event` would cost ten times as much to create."""

    key: bytes
    received_at: datetime
    webhook: str
    raw: bytes
    event_type: str = EventType.UNKNOWN.value
    event_id: str = ""
    message_id: str = ""
    recipient: str = ""
    timestamp: datetime | None = None


#: Types of events that most mails do not have.
RARE_TYPES = (
    *("rejected", "bounced", "deferred", "autoresponded", "complained", "unsubscribed", "subscribed"),
    *("inbound", "inbound_failed", "sent", "failed", "unknown"),
)
RARE = models.Q(event_type__in=[*RARE_TYPES])


class Event(PrimaryModel):
    """An event as SendGrid posted it, with columns for look-up."""

    key = models.BinaryField(max_length=16, unique=True, editable=False)
    event_type = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in EventType])
    event_id = models.CharField(max_length=255, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    #: Lower case, for look-up; `raw` has the original.
    recipient = models.CharField(max_length=320, blank=True)
    #: When the event happened; null if SendGrid's timestamp is unreadable.
    timestamp = models.DateTimeField(null=True)
    #: When the webhook accepted the event.
    received_at = models.DateTimeField()
    #: The name of the webhook, "tracking" or "inbound"; of events of ours `shared.own_events.WEBHOOK`.
    #: Receivers get its view as `sender`.
    webhook = models.CharField(max_length=32)
    raw = models.BinaryField()

    class Meta:
        # Not db_index: for a text column db_index adds a second index for LIKE on PostgreSQL.
        indexes = (
            models.Index(fields=["message_id"], name="event_message_id"),
            # The class lets PostgreSQL also find the addresses that begin with a text, in every collation.
            models.Index(fields=["recipient"], name="event_recipient", opclasses=["varchar_pattern_ops"]),
            # Among millions of events the newest of a rare type are far apart.
            models.Index(fields=["event_type", "id"], name="event_rare", condition=RARE),
        )
        permissions = (
            ("view_addresses", "Can view addresses of events and inbound mails"),
            ("view_content", "Can view the content of inbound mails"),
            ("act", "Can retry, replay and discard deliveries"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} event {self.pk}"
