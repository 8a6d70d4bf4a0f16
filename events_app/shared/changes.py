"""Changes of many rows on an operator's request: the commands and the admin pages apply the same ones."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.db import router, transaction
from django.db.models import Model, Q, QuerySet

logger = logging.getLogger(__name__)

#: Primary keys.
Ids: TypeAlias = Sequence[Any]


class Operator:
    """The person behind a change. Whoever runs a command has no name."""

    #: For the log of a changed row.
    name = "hand"
    #: For log lines.
    user_id: object = None

    def record(self, ids: Ids) -> None:
        """Record the changed rows, in the transaction of the change."""


BY_HAND = Operator()


@dataclass(frozen=True)
class Target:
    """The kind of rows that a change is about."""

    model: type[Model]
    noun: str
    #: The names of the values by which a preview counts rows.
    groups: Sequence[str]
    #: Counts rows by these values. Reads no large column.
    count_groups: "Callable[[QuerySet[Any]], Counter[tuple[object, ...]]]"
    #: The columns that `str()` of a row reads.
    named_by: Sequence[str] = ()

    def counted(self, count: int) -> str:
        return f"{count} {self.noun}{'' if count == 1 else 's'}"


@dataclass
class Preview:
    """The rows that a change would change."""

    #: Numbers of rows by the values of the target's groups.
    groups: Counter[tuple[object, ...]] = field(default_factory=Counter)
    #: Numbers of rows that the change would leave alone, by the names of `Change.left_alone`.
    left_alone: Counter[str] = field(default_factory=Counter)
    #: The number of recipients who would get a mail.
    reach: int = 0

    @property
    def would_change(self) -> int:
        return self.groups.total()


@dataclass(frozen=True)
class Change:
    """A change of many rows, in words and functions."""

    target: Target
    verb: str
    #: The participle, which is also the name of its count.
    done: str
    #: Finds the rows that would change, by ids.
    find: "Callable[[Ids], QuerySet[Any]]"
    #: Changes the rows of some ids, and counts them by outcome.
    apply: Callable[[Ids, Operator], Counter[str]]
    #: By the name of a count: why its rows were left alone.
    left_alone: Mapping[str, str]
    #: Counts rows that would be left alone, by the same names.
    count_left_alone: Callable[[Ids], Counter[str]]
    #: Why the remaining rows did not change.
    otherwise: str = ""
    #: Rows outside of this condition cannot change.
    only: Q = Q()  # noqa: RUF009 (nothing changes it)
    #: The number of rows that a transaction changes; None: the usual number.
    size: int | None = None
    #: Functions that wake workers for the changed rows, and return whether the broker took the wake-up.
    wakes: Sequence[Callable[[], bool]] = ()
    warning: str = ""
    #: The participle in full, for audit lines; empty: `done`.
    description: str = ""
    #: Counts the recipients who would get a mail by a change of these rows.
    count_reach: "Callable[[QuerySet[Any]], int] | None" = None

    def preview(self, slices: Iterable[Ids]) -> Preview:
        """Count the rows of these slices of ids. Nothing is changed."""
        preview = Preview()
        for ids in slices:
            rows = self.find(ids)
            preview.groups.update(self.target.count_groups(rows))
            preview.left_alone.update(self.count_left_alone(ids))
            preview.reach += self.count_reach(rows) if self.count_reach else 0
        return preview

    def run(self, slices: Iterable[Ids], matched: int, operator: Operator = BY_HAND) -> "Run":
        """Prepare the change of the rows of these slices of ids. `matched` is their number."""
        return Run(self, slices, matched, operator)


class Run:
    """A change in progress, with counts."""

    def __init__(self, change: Change, slices: Iterable[Ids], matched: int, operator: Operator) -> None:
        self.change, self.slices, self.matched, self.operator = change, slices, matched, operator
        #: Numbers of rows by outcome.
        self.counts = Counter(dict.fromkeys((change.done, *change.left_alone), 0))
        self.is_woken = True

    @property
    def done(self) -> int:
        return self.counts[self.change.done]

    def apply(self) -> None:
        """Change the rows, and wake workers. After an error the earlier slices are changed all the same."""
        try:
            for ids in self.slices:
                self.counts.update(self.change.apply(ids, self.operator))
        finally:
            if self.done:
                database = router.db_for_write(self.change.target.model)
                transaction.on_commit(self._wake, using=database)
                logger.info(
                    "%s %s (user: %s)",
                    *(self.change.done.capitalize(), self.change.target.counted(self.done)),
                    self.operator.user_id,
                )

    def _wake(self) -> None:
        answers = [wake() for wake in self.change.wakes]
        self.is_woken = all(answers)

    def report(self) -> Iterator[str]:
        """The outcome, in sentences."""
        change, matched = self.change, self.matched
        yield f"{change.done.capitalize()} {self.done} of {change.target.counted(matched)}."
        for name, reason in change.left_alone.items():
            if self.counts[name]:
                yield f"{self.counts[name]} left alone: {reason}."
        unchanged = matched - self.counts.total()
        if change.otherwise and unchanged > 0:  # rows may have changed since they were counted
            yield f"{unchanged} {change.otherwise}."
        if change.wakes and self.done:
            if self.is_woken:
                yield "A worker takes them up now, or at beat's next tick."
            else:
                yield "The broker does not answer: a worker takes them up at beat's next tick after that."
        if change.warning and self.done:
            yield change.warning
