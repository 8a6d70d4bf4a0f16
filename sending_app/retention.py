"""What a mail said goes some days after nothing is left to do with it, and the rest of its rows later."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from events_app.shared.database import database_now
from sending_app import conf
from sending_app.models import FINAL, Attachment, Mail, OutboxMessage
from sending_app.outbox import using
from sending_app.outcome import activity

#: Messages one transaction looks at.
SLICE = 500

#: Recipients one transaction removes, or those of one message if it has more.
MAX_RECIPIENTS = 20_000


def prune(has_time: Callable[[], bool]) -> bool:
    """Remove what has had its time. False when there was no time for all. Raises what the database raises."""
    now = database_now(using())
    # No decision on a mail looks further back than its age; a day more for clocks and mails just parked.
    activity.remove(now - timedelta(seconds=conf.MAX_AGE.get(), days=1))
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
    # A message is no older than its mails' end, and ids follow the order in which messages were sent.
    unfinished = Mail.objects.filter(message=OuterRef("pk")).filter(
        ~Q(state__in=FINAL) | Q(finished_at__gte=before)
    )
    last = 0
    while has_time():
        found = _slice(messages.filter(pk__gt=last))
        old = [pk for pk, created_at in found if created_at < before]
        if not old:
            return True
        with transaction.atomic(using=using()):
            # In order, as every multi-row write, and as events lock them.
            mails = Mail.objects.using(using()).filter(message__in=old).order_by("pk")
            list(mails.select_for_update().values_list("pk"))
            going = messages.filter(pk__in=old).exclude(Exists(unfinished)).order_by("pk")
            act(list(going.select_for_update(of=("self",)).values_list("pk", flat=True)))
        last = found[-1][0]
    return False


def _slice(messages: "QuerySet[OutboxMessage]") -> list[tuple[int, datetime]]:
    """The first of these: so many, or as many as have so many recipients."""
    found = list(messages.order_by("pk").values_list("pk", "created_at")[:SLICE])
    mails = Mail.objects.using(using()).filter(message__in=[pk for pk, _ in found]).values_list("message")
    counts = dict(mails.annotate(Sum("recipient_count")).values_list("message", "recipient_count__sum"))
    total = 0
    for number, (pk, _) in enumerate(found, 1):
        total += counts.get(pk, 0)
        if total >= MAX_RECIPIENTS:
            return found[:number]
    return found


def _empty(pks: list[int]) -> None:
    OutboxMessage.objects.using(using()).filter(pk__in=pks).update(content=None, subject="")
    Attachment.objects.using(using()).filter(message__in=pks).delete()
    Mail.objects.using(using()).filter(message__in=pks).update(personalizations=None)


def _remove(pks: list[int]) -> None:
    OutboxMessage.objects.using(using()).filter(pk__in=pks).delete()
