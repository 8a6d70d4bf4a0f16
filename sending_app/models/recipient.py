"""The recipients of mails. Tracking events update the rows."""

from django.db import models
from django.db.models import Q

from events_app.shared.primary import PrimaryModel
from sending_app.models.outbox import Mail

#: Statuses of recipients whose mail did not arrive, or not yet after a deferral.
TROUBLES = ("failed", "deferred", "rejected", "bounced")
TROUBLE = Q(status__in=[*TROUBLES])


class Recipient(PrimaryModel):
    """An address of a personalization. In a batch, every copy to a cc or bcc address has a row."""

    class Kind(models.TextChoices):
        TO = "to"
        CC = "cc"
        BCC = "bcc"

    mail = models.ForeignKey(Mail, models.CASCADE, related_name="recipients")
    #: The personalization's id, returned in events.
    message_id = models.UUIDField()
    #: As sent, in the form of `events_app.shared.addresses.comparable`.
    address = models.CharField(max_length=320)
    kind = models.CharField(max_length=3, choices=Kind)
    #: Progress of delivery. Only `outcome.recipients` updates the status.
    status = models.CharField(max_length=9, default="queued")
    rank = models.PositiveSmallIntegerField(default=0)
    #: When the event behind `status` happened.
    status_at = models.DateTimeField(null=True)
    #: Set for `bounced` and `rejected`.
    reject_reason = models.CharField(max_length=12, blank=True)
    #: First time of each engagement.
    opened_at = models.DateTimeField(null=True)
    clicked_at = models.DateTimeField(null=True)
    complained_at = models.DateTimeField(null=True)
    unsubscribed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["message_id", "address"], name="recipient_of_a_personalization"),
        )
        # Not db_index: for text, db_index adds a second index on PostgreSQL, for LIKE. With this class one
        # index also finds the addresses that begin with a text, in every collation.
        indexes = (
            models.Index(fields=["address"], name="recipient_address", opclasses=["varchar_pattern_ops"]),
            # For lists of the mails that did not arrive, or were complained about.
            models.Index(fields=["status", "mail"], name="recipient_trouble", condition=TROUBLE),
            models.Index(
                fields=["mail"], name="recipient_complained", condition=Q(complained_at__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.status} recipient {self.pk}"
