"""The rows of `./dev bench`: what is measured, against what, and the goal."""

from typing import NamedTuple


class Row(NamedTuple):
    """A row of the table. The ratio is our figure divided by the rival's."""

    name: str
    what: str
    against: str
    unit: str
    #: The goal for the ratio.
    goal: float
    #: Whether the goal is an upper limit; otherwise it is a lower limit.
    at_most: bool = False
    #: Whether both sides use SQLite; otherwise PostgreSQL.
    sqlite: bool = False

    @property
    def script(self) -> str:
        """The module that measures it: `benchmarks.<script>`."""
        return self.name.removesuffix("_sqlite")

    def holds(self, ratio: float) -> bool:
        return ratio <= self.goal if self.at_most else ratio >= self.goal

    @property
    def aim(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.goal:g}"


_VIEW = "django-anymail's view"
_TASK_EACH = "django-anymail, a Celery task an event"

_ROWS = (
    Row("door", "A signed post of 1,000 events, a receiver that does nothing", _VIEW, "ms", 1 / 2, True),
    Row("door_insert", "The same, a receiver that inserts a row", _VIEW, "ms", 1 / 100, True),
    Row("posts_of_20", "Posts of 20 events answered", _TASK_EACH, "posts/s", 20),
    Row("idle", "A signed post of 20 while 500 connections are idle", "without them", "ms", 1.2, True),
    Row(
        "idle_clients",
        "Posts answered within a second while 1,500 clients keep web waiting",
        "without them",
        "%",
        0.99,
    ),
    Row("end_to_end_1000", "Events from post to receiver, posts of 1,000", _TASK_EACH, "events/s", 60),
    Row("end_to_end_20", "Events from post to receiver, posts of 20", _TASK_EACH, "events/s", 30),
    Row("floor", "The first of these", "a bare loop that does the same SQL", "events/s", 0.6),
    Row("redis_memory", "Redis memory of a waiting event", "its bytes", "bytes", 1.3, True),
    Row("merge", "The body of a merge to 1,000", "django-anymail's payload", "ms", 1 / 2, True),
    Row(
        "mails",
        "Mails a second, SendGrid taking 50 ms",
        "django-anymail in a Celery task, with the same rows",
        "mails/s",
        2,
    ),
    Row(
        "mails_suppressed",
        "The same, with suppression and a million suppressed addresses",
        "without both",
        "mails/s",
        0.95,
    ),
    Row(
        "merge_suppressed",
        "`send()` of a merge to 1,000, with suppression and a million suppressed addresses",
        "without both",
        "ms",
        1.1,
        True,
    ),
    Row("task_events", "CPU time of a mail, tasks reported to flower", "without reports", "ms", 1.1, True),
    Row("bulk", "Recipients of merges a minute, SendGrid taking 50 ms", "the goal", "recipients/min", 1),
)

# Goals with SQLite, which has one writer at a time; the other goals are for PostgreSQL. The rows of the
# webhook view have none, because our view does not use the database.
_ON_SQLITE = {"end_to_end_1000": 10, "mails": 2}

#: The rows in the order in which they run.
ROWS = (
    *_ROWS,
    *(
        row._replace(
            name=f"{row.name}_sqlite",
            what=f"{row.what}, on SQLite",
            goal=_ON_SQLITE[row.name],
            sqlite=True,
        )
        for row in _ROWS
        if row.name in _ON_SQLITE
    ),
)
