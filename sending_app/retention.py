"""What a mail said goes some days after nothing is left to do with it, and the rest of its rows later."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from events_app.models import database_now
from sending_app import conf
from sending_app.models import FINAL, Attachment, OutboxMessage, Part
from sending_app.outbox import using

#: Messages one transaction looks at.
SLICE = 500


def prune(has_time: Callable[[], bool]) -> bool:
    """Remove what has had its time. False when there was no time for all. Raises what the database raises."""
    now = database_now(using())
    messages = OutboxMessage.objects.using(using())
    full = messages.filter(content__isnull=False)
    done = _each(full, now - timedelta(days=conf.BODY_DAYS.get()), _empty, has_time)
    days = conf.RETENTION_DAYS.get()
    if days is not None and done:
        done = _each(messages, now - timedelta(days=days), _remove, has_time)
    return done


def _each(
    messages: "QuerySet[OutboxMessage]",
    before: datetime,
    act: Callable[[list[int]], None],
    has_time: Callable[[], bool],
) -> bool:
    """Do it to the messages that were finished before then, a slice at a time."""
    # A message is no older than its parts' end, and ids follow the order in which messages were sent.
    unfinished = Part.objects.filter(message=OuterRef("pk")).filter(
        ~Q(state__in=FINAL) | Q(finished_at__gte=before)
    )
    last = 0
    while has_time():
        part = list(messages.filter(pk__gt=last).order_by("pk").values_list("pk", "created_at")[:SLICE])
        old = [pk for pk, created_at in part if created_at < before]
        if not old:
            return True
        with transaction.atomic(using=using()):
            going = messages.filter(pk__in=old).exclude(Exists(unfinished)).order_by("pk")
            act(list(going.select_for_update(of=("self",)).values_list("pk", flat=True)))
        last = part[-1][0]
    return False


def _empty(pks: list[int]) -> None:
    OutboxMessage.objects.using(using()).filter(pk__in=pks).update(content=None, subject="")
    Attachment.objects.using(using()).filter(message__in=pks).delete()
    Part.objects.using(using()).filter(message__in=pks).update(envelopes=None)


def _remove(pks: list[int]) -> None:
    OutboxMessage.objects.using(using()).filter(pk__in=pks).delete()
