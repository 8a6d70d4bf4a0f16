"""Removes the content of finished mails after some days, and later the rest of their rows."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from events_app.shared.database import Slice, database_now, remove_old
from sending_app import conf
from sending_app.models import FINAL, Attachment, Mail, MessageLabel, OutboxMessage
from sending_app.outbox import using
from sending_app.outcome import activity

#: Messages that one transaction looks at.
SLICE = 500

#: Recipients that one transaction removes, unless a single message has more.
MAX_RECIPIENTS = 20_000


def remove_old_messages(has_budget: Callable[[], bool]) -> bool:
    """Remove rows at the end of their retention. False when the budget ended first.

    Raises a database error.
    """

    def remove(pks: list[int]) -> None:
        messages.filter(pk__in=pks).delete()

    now = database_now(using())
    # No decision on a mail looks further back than its age. The extra day is for clocks, and for mails that
    # were parked just now.
    activity.remove_old_activity(now - timedelta(seconds=conf.MAX_AGE.get(), days=1))
    messages = OutboxMessage.objects.all()
    with_content = messages.filter(content__isnull=False)
    is_done = _prune(with_content, now - timedelta(days=conf.BODY_DAYS.get()), remove_content, has_budget)
    days = conf.RETENTION_DAYS.get()
    if days is not None and is_done:
        is_done = _prune(messages, now - timedelta(days=days), remove, has_budget)
    return is_done


def remove_content(pks: Sequence[int]) -> None:
    """Remove the content of these messages. Their mails, recipients and statuses stay."""
    OutboxMessage.objects.filter(pk__in=pks).update(content=None, subject="")
    Attachment.objects.filter(message__in=pks).delete()
    MessageLabel.objects.filter(message__in=pks).delete()
    Mail.objects.filter(message__in=pks).update(personalizations=None)


def _prune(
    messages: "QuerySet[OutboxMessage]",
    before: datetime,
    act: Callable[[list[int]], None],
    has_budget: Callable[[], bool],
) -> bool:
    """Act on the messages whose mails were all finished before that time."""
    # A message is older than the end of its mails.
    unfinished = Mail.objects.filter(message=OuterRef("pk")).filter(
        ~Q(state__in=FINAL) | Q(finished_at__gte=before)
    )

    def act_on_finished(in_slice: Q) -> None:
        old = messages.filter(in_slice, created_at__lt=before)
        with transaction.atomic(using=using()):
            # By id, as every write of many rows, and as event feedback locks them.
            mails = Mail.objects.filter(message__in=old).order_by("pk")
            list(mails.select_for_update().values_list("pk"))
            finished = old.exclude(Exists(unfinished)).order_by("pk")
            act(list(finished.select_for_update(of=("self",)).values_list("pk", flat=True)))

    return remove_old(partial(_slice, messages), before, act_on_finished, has_budget)


def _slice(messages: "QuerySet[OutboxMessage]", after: int) -> Slice | None:
    """The first messages after the id: up to SLICE of them, and up to MAX_RECIPIENTS."""
    rows = list(messages.filter(pk__gt=after).order_by("pk").values_list("pk", "created_at")[:SLICE])
    mails = Mail.objects.filter(message__in=[pk for pk, _ in rows]).values_list("message")
    counts = dict(mails.annotate(Sum("recipient_count")).values_list("message", "recipient_count__sum"))
    total = 0
    for number, (pk, _) in enumerate(rows, 1):
        total += counts.get(pk, 0)
        if total >= MAX_RECIPIENTS:
            rows = rows[:number]
            break
    return Slice(rows[-1][0], min(at for _, at in rows)) if rows else None
