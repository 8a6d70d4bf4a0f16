"""What receivers are still owed: done is a delete, `dead` stays until somebody looks."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from django.db import connections, models
from django.db.models import Q

from events_app.models.event import Event
from events_app.models.inbound import InboundMail

OWED = Q(state="owed")
#: The lanes of owed work: nobody has failed at it and nobody has it; it is to be tried again; somebody
#: has it, or had it and is gone.
RELEASED = Q(claim=None, failures=0, replay=False)
TO_RETRY = Q(claim=None) & (Q(failures__gt=0) | Q(replay=True))
CLAIMED = Q(claim__isnull=False)


class Owing(models.Model):
    """What is still owed for one row of something else, whose key it shares."""

    #: The field that leads to that row.
    OF: ClassVar[str]

    class State(models.TextChoices):
        OWED = "owed"
        DEAD = "dead"

    state = models.CharField(max_length=4, choices=State, default=State.OWED)
    #: The token of the worker that has it; null when nobody has.
    claim = models.BigIntegerField(null=True)
    #: When anyone may take it: the end of the lease while it is claimed, else the time it is due.
    due = models.DateTimeField()
    #: How often it was tried and a receiver failed.
    failures = models.PositiveSmallIntegerField(default=0)
    #: How often it was taken over from a worker that died or overran its time.
    lapses = models.PositiveSmallIntegerField(default=0)
    #: Whether an operator has asked for it once more after it was done or dead.
    replay = models.BooleanField(default=False)
    #: The receivers it is still owed to, by name, each with the traceback of its last failure.
    #: Empty: all there are.
    receivers = models.JSONField(default=dict)
    #: Why it is dead.
    error = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.state} work for {self.OF} {self.pk}"


class WorkManager(models.Manager["Work"]):
    """Opens work the way that costs each database least."""

    def open(self, events: Sequence[int], claim: int, due: datetime, using: str) -> None:
        """Owe these events, by their ids, to all receivers, and let `claim` have them."""
        connection = connections[using]
        new = Work(claim=claim, due=due)
        fields = [field for field in Work._meta.concrete_fields if not field.primary_key]
        values = [field.get_db_prep_save(getattr(new, field.attname), connection) for field in fields]
        columns = ", ".join(field.column or field.attname for field in fields)
        # All rows are alike but for the id: the ids alone go over, as one parameter.
        array = connection.vendor == "postgresql"
        ids = "unnest(%s::bigint[]) AS new (value)" if array else "json_each(%s)"
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {connection.ops.quote_name(Work._meta.db_table)} (event_id, {columns}) "  # noqa: S608 (our own names)
                f"SELECT value, {', '.join(['%s'] * len(values))} FROM {ids}",
                [*values, list(events) if array else json.dumps(list(events))],
            )


class Work(Owing):
    """What is still owed for one event."""

    OF = "event"

    event = models.OneToOneField(Event, models.CASCADE, primary_key=True)

    objects: ClassVar[WorkManager] = WorkManager()

    class Meta:
        # One for each lane: a million replays that wait are not in the way of a drain's look for work.
        indexes = (
            models.Index(fields=["event"], name="work_released", condition=OWED & RELEASED),
            models.Index(fields=["due"], name="work_to_retry", condition=OWED & TO_RETRY),
            models.Index(fields=["due"], name="work_claimed", condition=OWED & CLAIMED),
        )
        verbose_name_plural = "work"


class InboundWork(Owing):
    """What is still owed for one inbound mail."""

    OF = "mail"

    mail = models.OneToOneField(InboundMail, models.CASCADE, primary_key=True, related_name="work")

    class Meta:
        indexes = (models.Index(fields=["due"], name="inbound_work_owed", condition=OWED),)
        verbose_name_plural = "inbound work"
