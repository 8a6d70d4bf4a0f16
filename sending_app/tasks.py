"""The Celery tasks of sending, and the tick, which finds the mails that are due.

The tick is the answer to every lost message, every dead worker, and every circuit that may be probed. Beat
asks for it each few seconds, and a worker asks after each of its tasks.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from celery.exceptions import Ignore, SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from redis import RedisError

from events_app.shared import redis, wakeup
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.wakeup import Limits, acknowledge, suppress, wake, wake_once
from sending_app import conf, retention
from sending_app.delivery import leases, reconcile, sender
from sending_app.models import Mail
from sending_app.outbox import using

if TYPE_CHECKING:
    from celery import Task


logger = logging.getLogger(__name__)

#: The queues a worker is to consume: what somebody waits for, and what goes to many at once.
MAIL, BULK = "sendgrid.mail", "sendgrid.bulk"

#: Seconds a task that has posted what there was waits for more. While mails keep coming, that is what lets
#: them do without a task each, which costs as much as the mail.
IDLE_WAIT = 0.1

#: Seconds one task waits so in all: somebody else may need its worker.
MAX_IDLE_WAIT = 1.0

#: Seconds one task posts mails, or removes old ones, before it leaves the rest to the next one.
BUDGET = 10

#: Seconds between two ticks, whoever asks.
INTERVAL = 5

#: Seconds between two looks for mails that are too old, and for what has had its time.
RECONCILE_EVERY, PRUNE_EVERY = 60, 3600


def hard_limit() -> int:
    """Seconds after which a task's process is killed; a post begun at the budget's end has its time."""
    return soft_limit() + 10


def soft_limit() -> int:
    """Seconds after which a task is interrupted."""
    return BUDGET + 20 + int(2 * sum(conf.REQUESTS_TIMEOUT.get()))


_LIMITS = Limits(soft_limit(), hard_limit())


@wakeup.task("sending.deliver", queue=MAIL, keeps_result=True, limits=_LIMITS)
def deliver() -> dict[str, int]:
    """Post the mails that are due, for a while. Keeps as its result how many came to what."""
    return _deliver(Mail.Lane.MAIL, BUDGET)


@wakeup.task("sending.deliver_bulk", queue=BULK, keeps_result=True, limits=_LIMITS)
def deliver_bulk() -> dict[str, int]:
    """Post one bulk mail: where one worker serves both lanes, the other one has its turn then."""
    return _deliver(Mail.Lane.BULK, 0)


@wakeup.task("sending.reconcile", queue=MAIL, keeps_result=True, limits=_LIMITS)
def reconcile_unknown() -> dict[str, int]:
    """Reconcile mails whose outcome is unknown, and give up those that are too old."""
    return _result(_run("mails of unknown outcome", reconcile.reconcile_all))


@wakeup.task("sending.prune", queue=BULK, limits=_LIMITS)
def prune() -> None:
    """Remove what mails said at the end of its retention."""
    _run("old mails", _prune)


@wakeup.task("sending.tick", queue=MAIL, limits=_LIMITS)
def tick() -> None:
    """Wake workers for everything that is due and that woke nobody."""
    _run("the tick", Counter)


def wake_for(lane: Mail.Lane) -> None:
    """Wake a worker for a mail that has just been kept, or wake another one."""
    wake_once(_task(lane))


def _task(lane: Mail.Lane) -> "Task[[], object]":
    return deliver_bulk if lane == Mail.Lane.BULK else deliver


def _deliver(lane: Mail.Lane, seconds: float) -> dict[str, int]:
    return _result(_run("mails", partial(_post, lane, seconds)))


def _post(lane: Mail.Lane, seconds: float) -> Counter[str]:
    """What is due, and what comes meanwhile."""
    ends = time.monotonic() + seconds
    did: Counter[str] = Counter()
    waited = 0.0
    acknowledge(_task(lane))
    while more := sender.deliver(lane, ends - time.monotonic(), partial(wake_for, lane)):
        did += more
        waited += IDLE_WAIT
        if waited > MAX_IDLE_WAIT or time.monotonic() + IDLE_WAIT > ends:
            break  # whoever sends now wakes a worker: the last suppression is over
        suppress(_task(lane), IDLE_WAIT)
        time.sleep(IDLE_WAIT * 1.2)  # by its clock and ours the suppression is over
    return did


def _prune() -> Counter[str]:
    ends = time.monotonic() + BUDGET
    if not retention.prune(lambda: time.monotonic() < ends):
        wake(prune)
    return Counter()


def _result(did: Counter[str]) -> dict[str, int]:
    # Where nothing was done, another worker was faster: nothing to keep a row for.
    if not (did and _database_answers()):
        raise Ignore
    return dict(did)


def _database_answers() -> bool:
    """Whether a result can be written. Connections that broke are closed."""
    # django-celery-results writes on the connection there is, and Celery logs a traceback where that has
    # broken (celery.app.trace, around mark_as_done).
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            connection.close()
    try:
        connections[using()].ensure_connection()
    except DatabaseError:
        return False
    return True


def _run(what: str, work: Callable[[], Counter[str]]) -> Counter[str]:
    did: Counter[str] = Counter()
    # The database away is no error of a task: nothing is lost, the next tick goes on.
    try:
        # A connection that broke under an earlier task: Celery's fixup keeps it for many.
        close_old_connections()
        sender.write_unwritten()
        did = work()
        _wake_for_due_work()
    except (DatabaseError, InterfaceError, DatabaseUnavailable) as away:
        # The first line: a database's further lines may quote values.
        why = f"{type(away).__name__}: {away}".partition("\n")[0][:200]
        logger.warning("Left %s, to be taken up again: %s", what, why)
        close_old_connections()  # who uses the connection next is to find one that works
    except SoftTimeLimitExceeded:
        # The limit may have struck in mid statement. psycopg cancels that for KeyboardInterrupt and
        # SystemExit alone (psycopg.Connection.wait), and no later statement could run on the connection.
        connections.close_all()
        logger.warning("Left %s at its time limit, to be taken up again", what)
    return did


def _wake_for_due_work() -> None:
    due = find_due()
    wakeups: tuple[tuple[bool, Task[[], object]], ...] = (
        (due.mail, deliver),
        (due.bulk, deliver_bulk),
        (due.reconcile, reconcile_unknown),
        (due.prune, prune),
    )
    for is_due, task in wakeups:
        if is_due:
            wake(task)


class Due(NamedTuple):
    """The tasks that there is work for."""

    mail: bool = False
    bulk: bool = False
    reconcile: bool = False
    prune: bool = False


def find_due() -> Due:
    """Look once for all processes; a tick that another process has just made finds nothing due.

    Raises a database error when the database is away. Without Redis everybody looks.
    """
    if not _take_lock("sending-tick", INTERVAL * 1000 - 500):
        return Due()
    return Due(
        mail=leases.anything_due(Mail.Lane.MAIL),
        bulk=leases.anything_due(Mail.Lane.BULK),
        reconcile=reconcile.anything_due() or _take_lock("sending-reconcile", RECONCILE_EVERY * 1000),
        prune=_take_lock("sending-prune", PRUNE_EVERY * 1000),
    )


def _take_lock(name: str, milliseconds: int) -> bool:
    try:
        return redis.take_lock(name, milliseconds)
    except RedisError:
        return True
