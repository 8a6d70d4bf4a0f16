"""Writes that wait in this process while the database is unavailable."""

from collections import deque
from collections.abc import Callable

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, InternalError, OperationalError

from events_app.shared.database import DatabaseUnavailable


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
