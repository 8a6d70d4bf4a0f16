"""When events of an account's mails reached the webhook: SendGrid's posts got through then.

A row stands for an account and a step of time, whatever the number of events in it. Only "no event came"
needs the rows, so a lost row costs a mail of unknown outcome its second attempt, and no event.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

from django.db import DatabaseError, InterfaceError, transaction

from sending_app import conf
from sending_app.models import WebhookActivity
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Steps a process remembers to have written.
MAX_REMEMBERED = 10_000

#: An account, and when a step begins: seconds since 1970.
_Step: TypeAlias = tuple[str, int]

# Most events come in a step that another event has had written.
_written: set[_Step] = set()


def step() -> timedelta:
    """How long a step is: a hundredth of the wait for events, which is a twentieth of a silence that counts.

    A second at least: a wait of some seconds proves nothing then, and mails of unknown outcome are parked.
    """
    return timedelta(seconds=max(1, conf.UNKNOWN_WAIT.get() // 100))


def record(arrivals: Iterable[tuple[str, datetime]]) -> None:
    """Write, once the transaction has committed, that events of these accounts reached the webhook then."""
    length = step() // timedelta(seconds=1)
    steps = {(account, int(at.timestamp()) // length * length) for account, at in arrivals if account}
    if new := steps - _written:
        # Not in the transaction: drains that meet in a step would wait for each other's end.
        transaction.on_commit(partial(_write, sorted(new)), using=using(), robust=True)


def _write(steps: Sequence[_Step]) -> None:
    rows = [WebhookActivity(account=account, at=datetime.fromtimestamp(at, UTC)) for account, at in steps]
    try:
        WebhookActivity.objects.using(using()).bulk_create(rows, ignore_conflicts=True)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Could not record when %d events came: %s", len(rows), type(error).__name__)
        return
    if len(_written) > MAX_REMEMBERED:
        _written.clear()
    _written.update(steps)


def forget() -> None:
    """Let this process write every step anew: its rows may be gone."""
    _written.clear()


def silence(
    account: str, since: datetime, until: datetime, longest: timedelta
) -> tuple[datetime, datetime] | None:
    """The first time between `since` and `until` in which no event came for longer than `longest`.

    All moments are by the clock of Redis.
    """
    length = step()
    rows = WebhookActivity.objects.using(using()).filter(account=account, at__gt=since - length, at__lt=until)
    return first_gap(list(rows.order_by("at").values_list("at", flat=True)), length, since, until, longest)


def first_gap(
    steps: Iterable[datetime], length: timedelta, since: datetime, until: datetime, longest: timedelta
) -> tuple[datetime, datetime] | None:
    """The first time between two of the steps that may have been without an event for longer than `longest`.

    `steps` are in order. Where in its step an event came is not known, so a gap counts from the beginning of
    one step to the end of the next; the answer is the time that surely had none.
    """
    last = silent_from = since
    for at in steps:
        if at + length - last > longest:
            return silent_from, at
        last, silent_from = max(last, at), at + length
    return (silent_from, until) if until - last > longest else None


def remove(before: datetime) -> None:
    """Remove what is older."""
    WebhookActivity.objects.using(using()).filter(at__lt=before).delete()
