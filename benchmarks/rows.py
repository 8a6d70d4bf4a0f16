"""What is measured against what, and what is to come of it."""

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table. A ratio is always ours by the rival's."""

    name: str
    what: str
    against: str
    unit: str
    #: The ratio to reach.
    goal: float
    #: Whether the ratio is to be at most the goal; at least, otherwise.
    at_most: bool = False
    #: Whether both sides have SQLite; PostgreSQL, otherwise.
    sqlite: bool = False

    @property
    def script(self) -> str:
        """It is `benchmarks.<script>`."""
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
    Row("redis_memory", "Redis memory of an event that waits", "its bytes", "bytes", 1.3, True),
    Row("merge", "The body of a merge to 1,000", "django-anymail's payload", "ms", 1 / 2, True),
    Row(
        "mails",
        "Mails a second, SendGrid taking 50 ms",
        "django-anymail in a Celery task, with the same rows",
        "mails/s",
        2,
    ),
    Row("bulk", "Recipients of merges a minute, SendGrid taking 50 ms", "the goal", "recipients/min", 1),
)

# What is to be reached with SQLite, whose writers take turns: the other goals are those of PostgreSQL. What a
# door answers in has nothing to do with our database.
_ON_SQLITE = {"end_to_end_1000": 10, "mails": 2}

#: In the order in which they run.
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
