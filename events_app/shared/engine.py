"""The engine runs the Celery tasks of an app, and its tick wakes tasks that have work and no wake-up.

Each task first makes the writes of earlier tasks that failed with the database (`Unwritten`).

The tick is the answer to every lost message and every dead worker. Beat starts a tick every few seconds, and
each task ends with one, so a missing beat only makes recovery slower.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING

from celery.exceptions import SoftTimeLimitExceeded
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    close_old_connections,
    connections,
)
from redis import RedisError

from events_app.shared import redis, wakeup
from events_app.shared.counting import gather_counts
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.eager import is_eager
from events_app.shared.redis_faults import describe
from events_app.shared.wakeup import Limits, wake

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)

#: Seconds between two ticks of an app, over all processes.
INTERVAL = 5

# The locks of this process while Redis is away: by name, the end on `time.monotonic`.
_not_before: dict[str, float] = {}


class Unwritten:
    """The writes of one app that failed with the database. The next task makes them first.

    They are lost when the process dies: the lease of their row expires then, as after every worker death.
    """

    def __init__(self) -> None:
        self.writes: deque[Callable[[], None]] = deque()

    def write(self, write: Callable[[], None], later: Callable[[], None] | None = None) -> None:
        """Call `write`; if the database is away or the soft limit strikes, keep `later` for `flush`.

        Without `later`, `write` itself is kept. Raises DatabaseUnavailable, SoftTimeLimitExceeded, or another
        error of `write`. After another error nothing is kept: the same write would fail again.
        """
        try:
            write()
        # PostgreSQL reports a standby that is read-only as InternalError.
        except (OperationalError, InternalError, InterfaceError) as error:
            self.writes.append(later or write)
            raise DatabaseUnavailable(type(error).__name__) from error
        except SoftTimeLimitExceeded:
            self.writes.append(later or write)
            raise

    def flush(self) -> None:
        """Make the writes that were kept. Raises as `write` does, and keeps the failed write."""
        for _ in range(len(self.writes)):
            try:
                write = self.writes.popleft()
            except IndexError:  # another thread of this process was faster
                return
            self.write(write)


class Engine:
    """The tasks of one app, each with the condition under which it has work."""

    def __init__(
        self, tick: str, limits: Limits, unwritten: Unwritten, on_tick: Callable[[], None] = lambda: None
    ) -> None:
        """`tick` names the tick's lock. `on_tick` is called in the process that has the lock."""
        self._tick, self._limits, self._unwritten, self._on_tick = tick, limits, unwritten, on_tick
        self._conditions: list[tuple[Callable[[], bool], Task[[], object]]] = []

    def task(
        self,
        name: str,
        *,
        queue: str,
        is_due: Callable[[], bool] | None = None,
        result_database: Callable[[], str] | None = None,
    ) -> Callable[[Callable[[], object]], "Task[[], object]"]:
        """A decorator for a task. A tick wakes the task when `is_due` says that it has work.

        Without a `result_database` Celery keeps no result. With one, Celery keeps a result that is not empty.
        A task without `is_due` is a tick: so many come that monitors get no events of them.
        """

        def decorate(work: Callable[[], object]) -> "Task[[], object]":
            @wraps(work)
            def run() -> object:
                result = self._run(name, work)
                # An empty result means that another worker did the work. Not `raise Ignore`: without an event
                # of its end, flower would show the task as started for ever.
                if result_database and not (result and _is_available(result_database())):
                    task.request.ignore_result = True
                return result

            task = wakeup.task(
                name,
                queue=queue,
                limits=self._limits,
                keeps_result=result_database is not None,
                sends_events=is_due is not None,
            )(run)
            if is_due:
                self._conditions.append((is_due, task))
            return task

        return decorate

    def find_due(self) -> "list[Task[[], object]]":
        """The tasks that have work. Empty when another process looked a moment ago, and in a test run.

        Raises redis.RedisError or a database error when a condition cannot be evaluated.
        """
        if is_eager() or not is_first_within(self._tick, INTERVAL - 0.5):
            return []
        self._on_tick()
        return [task for is_due, task in self._conditions if is_due()]

    def _run(self, name: str, work: Callable[[], object]) -> object:
        result = None
        try:
            with gather_counts(), log_unavailable(name):
                # Celery's fixup may keep a connection that broke under an earlier task for many tasks.
                _close_broken_connections()
                self._unwritten.flush()
                result = work()
                for task in self.find_due():
                    wake(task)
        except SoftTimeLimitExceeded:
            # The limit may have struck in the middle of a statement. psycopg cancels a statement only for
            # KeyboardInterrupt and SystemExit (psycopg.Connection.wait), and the connection would accept no
            # later statement.
            connections.close_all()
            logger.warning("%s stopped at its time limit; the next tick continues the work", name)
        return result


@contextmanager
def log_unavailable(what: str) -> Iterator[None]:
    """Log one line when Redis or the database is away: nothing is lost, the next tick continues the work."""
    try:
        yield
    except (RedisError, DatabaseError, InterfaceError, DatabaseUnavailable) as error:
        logger.warning("%s stopped (%s); the next tick continues the work", what, _describe(error))
        _close_broken_connections()  # the next user of a connection gets one that works


def _describe(error: Exception) -> str:
    if isinstance(error, DataError | IntegrityError):  # a value is the fault, and the first line may quote it
        return type(error).__name__
    return describe(error)


def _close_broken_connections() -> None:
    # The connection of a test that calls a task has the transaction of the test.
    if not is_eager():
        close_old_connections()


def is_first_within(name: str, seconds: float) -> bool:
    """Whether the call is the first of all processes in `seconds`; of this process while Redis is away."""
    try:
        return redis.take_lock(name, int(seconds * 1000))
    except RedisError:
        # Not always True: each task ends with a tick, so the tasks would wake each other without end.
        now = time.monotonic()
        if now < _not_before.get(name, 0.0):
            return False
        _not_before[name] = now + seconds
        return True


def _is_available(alias: str) -> bool:
    """Whether Celery can write a result to the database. Closes connections that broke."""
    # django-celery-results writes on the open connection, and Celery logs a traceback if that has broken
    # (celery.app.trace, around mark_as_done).
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            connection.close()
    try:
        connections[alias].ensure_connection()
    except DatabaseError:
        return False
    return True
