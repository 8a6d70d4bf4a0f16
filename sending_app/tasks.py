"""The Celery tasks of sending."""

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from events_app.shared import hourly, redis
from events_app.shared.engine import Engine, is_first_within
from events_app.shared.wakeup import Limits, acknowledge, suppress, wake, wake_once
from sending_app import conf, retention
from sending_app.delivery import leases, reconcile, sender
from sending_app.hourly_counts import count_sent
from sending_app.models import Mail, UnfoldedCounts
from sending_app.outbox import using

if TYPE_CHECKING:
    from celery import Task


#: The queues that a worker must consume: transactional mails, and bulk mails.
MAIL, BULK = "sendgrid.mail", "sendgrid.bulk"

#: Seconds that a task waits for more mails after it posted all due ones. A mail that comes in this time needs
#: no task of its own, which would cost as much as the mail.
IDLE_WAIT = 0.1

#: Total seconds of waiting in a task: other work may need the worker.
MAX_IDLE_WAIT = 1.0

#: Seconds that one task posts mails, or removes old ones, before it leaves the rest to the next task.
BUDGET = 10

#: Seconds between two looks for mails that are too old, and for rows at the end of their retention.
RECONCILE_EVERY = PRUNE_EVERY = 60

#: Seconds between two counts of accepted mails for charts: of this hour, and of the last days. Event feedback
#: may prove that SendGrid accepted a mail earlier.
COUNT_EVERY, COUNT_DAYS_EVERY = 60, 3600

#: Hours of the last days.
COUNTED_HOURS = 48


def sending_hard_limit() -> int:
    """Seconds after which a task's process is killed."""
    return sending_soft_limit() + 10


def sending_soft_limit() -> int:
    """Seconds after which a task is interrupted: a post that began at the budget's end has its time."""
    return BUDGET + 20 + int(2 * sum(conf.REQUESTS_TIMEOUT.get()))


engine = Engine("sending-tick", Limits.by_settings(sending_soft_limit, sending_hard_limit), sender.unwritten)


@engine.task(
    "sending.deliver",
    queue=MAIL,
    is_due=lambda: leases.any_mail_due(Mail.Lane.MAIL),
    result_database=using,
)
def deliver_mails() -> dict[str, int]:
    """Post due mails for a while. The result counts the mails of each outcome."""
    return _deliver(Mail.Lane.MAIL, BUDGET)


@engine.task(
    "sending.deliver_bulk",
    queue=BULK,
    is_due=lambda: leases.any_mail_due(Mail.Lane.BULK),
    result_database=using,
)
def deliver_bulk() -> dict[str, int]:
    """Post one bulk mail. A worker that serves both lanes takes transactional mails next."""
    return _deliver(Mail.Lane.BULK, 0)


@engine.task(
    "sending.reconcile",
    queue=MAIL,
    is_due=lambda: reconcile.anything_to_reconcile() or is_first_within("sending-reconcile", RECONCILE_EVERY),
    result_database=using,
)
def reconcile_unknown() -> dict[str, int]:
    """Reconcile mails whose outcome is unknown, and give up mails that are too old."""
    return dict(reconcile.reconcile_all())


@engine.task("sending.prune", queue=BULK, is_due=lambda: is_first_within("sending-prune", PRUNE_EVERY))
def prune_mails() -> None:
    """Remove the content of mails, and mails, at the end of their retention."""
    ends = time.monotonic() + BUDGET
    if not retention.remove_old_messages(lambda: time.monotonic() < ends):
        redis.release_lock("sending-prune")  # the next tick wakes a worker for the rest


@engine.task("sending.count", queue=BULK, is_due=lambda: is_first_within("sending-count", COUNT_EVERY))
def count_mails() -> None:
    """Count accepted mails for charts, and fold the other counts."""
    is_folded = hourly.fold(UnfoldedCounts, using())
    all_days = is_first_within("sending-count-days", COUNT_DAYS_EVERY)
    count_sent(COUNTED_HOURS if all_days else 1, using())
    if not is_folded:
        wake(count_mails)


@engine.task("sending.tick", queue=MAIL)
def tick_sending() -> None:
    """Do nothing: the engine wakes the tasks that have work."""


def wake_for(lane: Mail.Lane) -> bool:
    """Wake a worker for a new mail of the lane. False when the broker did not take the wake-up."""
    return wake_once(_task(lane))


def _task(lane: Mail.Lane) -> "Task[[], object]":
    return deliver_bulk if lane == Mail.Lane.BULK else deliver_mails


def _deliver(lane: Mail.Lane, seconds: float) -> dict[str, int]:
    ends = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    waited = 0.0
    acknowledge(_task(lane))
    while more := sender.post_due_mails(lane, ends - time.monotonic(), partial(wake_for, lane)):
        outcomes += more
        waited += IDLE_WAIT
        if waited > MAX_IDLE_WAIT or time.monotonic() + IDLE_WAIT > ends:
            break  # the last suppression is over: each new mail wakes a worker
        suppress(_task(lane), IDLE_WAIT)
        time.sleep(IDLE_WAIT * 1.2)  # by the clocks of Redis and of this process the suppression is over
    return dict(outcomes)
