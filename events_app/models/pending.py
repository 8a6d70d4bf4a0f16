"""Pending deliveries to receivers: done is a delete, a dead letter stays until an operator acts."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from django.db import connections, models
from django.db.models import Q

from events_app.models.event import Event
from events_app.models.inbound import InboundMail

PENDING = Q(state="pending")
#: The lanes of pending deliveries: not failed and not leased; to be retried; leased, by a worker that may be
#: gone.
RELEASED = Q(lease=None, failures=0, replay=False)
TO_RETRY = Q(lease=None) & (Q(failures__gt=0) | Q(replay=True))
LEASED = Q(lease__isnull=False)


class AbstractPendingDelivery(models.Model):
    """The pending delivery, or the dead letter, of one stored row, whose primary key it shares."""

    #: The field that leads to that row.
    ROW_FIELD: ClassVar[str]

    class State(models.TextChoices):
        PENDING = "pending"
        DEAD_LETTER = "dead", "Dead letter"

    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    #: The token of the lease that a worker holds on it; null when none does; 0 when its worker is gone.
    lease = models.BigIntegerField(null=True)
    #: When a worker may take it: the end of the lease while it is leased, else the time it is due.
    due = models.DateTimeField()
    #: How often it was tried and a receiver failed.
    failures = models.PositiveSmallIntegerField(default=0)
    #: How often it was taken over from a worker that died or overran its time.
    worker_deaths = models.PositiveSmallIntegerField(default=0)
    #: Whether an operator has asked for it once more after it was done or dead.
    replay = models.BooleanField(default=False)
    #: The receivers that are still to be called, by name, each with the traceback of its last failure.
    #: Empty: all there are.
    receivers = models.JSONField(default=dict)
    #: Why it is a dead letter.
    error = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.state} delivery of {self.ROW_FIELD} {self.pk}"


class PendingDeliveryManager(models.Manager["PendingDelivery"]):
    """Creates pending deliveries the way that costs each database least."""

    def create_leased(self, events: Sequence[int], lease: int, due: datetime, using: str) -> None:
        """Create a pending delivery to all receivers for each of these event ids, under this lease."""
        connection = connections[using]
        new = PendingDelivery(lease=lease, due=due)
        fields = [field for field in PendingDelivery._meta.concrete_fields if not field.primary_key]
        values = [field.get_db_prep_save(getattr(new, field.attname), connection) for field in fields]
        columns = ", ".join(field.column or field.attname for field in fields)
        # All rows are alike but for the id: the ids alone go over, as one parameter.
        array = connection.vendor == "postgresql"
        ids = "unnest(%s::bigint[]) AS new (value)" if array else "json_each(%s)"
        table = connection.ops.quote_name(PendingDelivery._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (event_id, {columns}) "  # noqa: S608 (our own names)
                f"SELECT value, {', '.join(['%s'] * len(values))} FROM {ids}",
                [*values, list(events) if array else json.dumps(list(events))],
            )


class PendingDelivery(AbstractPendingDelivery):
    """The pending delivery, or the dead letter, of one event."""

    ROW_FIELD = "event"

    event = models.OneToOneField(Event, models.CASCADE, primary_key=True, related_name="pending")

    objects: ClassVar[PendingDeliveryManager] = PendingDeliveryManager()

    class Meta:
        # One for each lane: a million replays that wait are not in the way of a drain.
        indexes = (
            models.Index(fields=["event"], name="pending_released", condition=PENDING & RELEASED),
            models.Index(fields=["due"], name="pending_to_retry", condition=PENDING & TO_RETRY),
            models.Index(fields=["due"], name="pending_leased", condition=PENDING & LEASED),
        )
        verbose_name_plural = "pending deliveries"


class PendingInboundDelivery(AbstractPendingDelivery):
    """The pending delivery, or the dead letter, of one inbound mail."""

    ROW_FIELD = "mail"

    mail = models.OneToOneField(InboundMail, models.CASCADE, primary_key=True, related_name="pending")

    class Meta:
        indexes = (models.Index(fields=["due"], name="inbound_pending", condition=PENDING),)
        verbose_name_plural = "pending inbound deliveries"
