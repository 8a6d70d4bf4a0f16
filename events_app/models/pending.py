"""Pending deliveries to receivers. A finished delivery is deleted; a dead letter stays for an operator."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from events_app.models.event import Event
from events_app.models.inbound import InboundMail
from events_app.shared import tracing
from events_app.shared.primary import PrimaryModel

PENDING = Q(state="pending")
DEAD_LETTERS = Q(state="dead")
#: The lanes of pending deliveries: neither failed nor leased; to be retried; leased, perhaps by a dead
#: worker.
RELEASED = Q(lease=None, failures=0, replay=False)
TO_RETRY = Q(lease=None) & (Q(failures__gt=0) | Q(replay=True))
LEASED = Q(lease__isnull=False)


class AbstractPendingDelivery(PrimaryModel):
    """The pending delivery, or the dead letter, of a stored row. Both have the same primary key."""

    # The foreign key to the stored row is not CASCADE: Django would read each row that retention removes, to
    # find the row's delivery. The foreign key has no constraint: PostgreSQL would look for the delivery too,
    # and lock the row for each new delivery. If somebody else deletes the row, leases remove the pending
    # delivery, and retention removes the dead letter with the next old rows.

    #: The field for the stored row.
    ROW_FIELD: ClassVar[str]

    class State(models.TextChoices):
        PENDING = "pending"
        DEAD_LETTER = "dead", "Dead letter"

    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    #: The token of the worker's lease; null without a lease; 0 when orphaned.
    lease = models.BigIntegerField(null=True)
    #: When a worker may lease the delivery: the end of a lease, or the time of a retry.
    due = models.DateTimeField()
    #: Number of attempts with a failed receiver.
    failures = models.PositiveSmallIntegerField(default=0)
    #: Number of workers that died or exceeded the time limit during the delivery.
    worker_deaths = models.PositiveSmallIntegerField(default=0)
    #: Whether an operator asked for the delivery again.
    replay = models.BooleanField(default=False)
    #: The receivers still to call, by name, with the traceback of the last failure. Empty: all receivers.
    receivers = models.JSONField(default=dict)
    #: Why the delivery is a dead letter.
    error = models.TextField(blank=True)
    #: Of the span that the receivers' spans belong to, if that is sampled. Not null: a null would cost each
    #: row of PostgreSQL 8 bytes more.
    traceparent = models.CharField(max_length=tracing.LENGTH, blank=True, default="", db_default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.state} delivery of {self.ROW_FIELD} {self.pk}"


class PendingDelivery(AbstractPendingDelivery):
    """The pending delivery, or the dead letter, of an event."""

    ROW_FIELD = "event"

    event = models.OneToOneField(
        Event, models.DO_NOTHING, primary_key=True, related_name="pending", db_constraint=False
    )

    class Meta:
        # An index for each lane, so that a million waiting replays do not slow down a drain.
        indexes = (
            models.Index(fields=["event"], name="pending_released", condition=PENDING & RELEASED),
            models.Index(fields=["due"], name="pending_to_retry", condition=PENDING & TO_RETRY),
            models.Index(fields=["due"], name="pending_leased", condition=PENDING & LEASED),
            # Few dead letters may lie among a million waiting replays.
            models.Index(fields=["event"], name="pending_dead", condition=DEAD_LETTERS),
        )
        verbose_name_plural = "dead letters and pending deliveries of events"


class PendingInboundDelivery(AbstractPendingDelivery):
    """The pending delivery, or the dead letter, of an inbound mail."""

    ROW_FIELD = "mail"

    mail = models.OneToOneField(
        InboundMail, models.DO_NOTHING, primary_key=True, related_name="pending", db_constraint=False
    )

    class Meta:
        indexes = (
            models.Index(fields=["due"], name="inbound_pending", condition=PENDING),
            models.Index(fields=["mail"], name="inbound_dead", condition=DEAD_LETTERS),
        )
        verbose_name_plural = "dead letters and pending deliveries of inbound mails"
