"""Hourly counts: numbers for charts. The counts outlive the counted rows.

A batch records its counts in one row, in the transaction of its own rows (`record_counts`). Such rows are
never updated, so no batch waits for another. A task folds them into one row per series, hour and label
(`fold`). Readers add the rows that are not folded yet (`read`, `top`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, TypeAlias, cast

from django.db import models, transaction
from django.db.models import QuerySet, Sum, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Trunc

from events_app.shared.database import AnyOf, clean, lock_writes
from events_app.shared.primary import PrimaryModel

#: The number of labels that a series keeps for an hour: the largest labels. `OTHER` has the rest.
MOST_LABELS = 50

#: The label of all labels that are not kept.
OTHER = ""

#: Characters of a label that are kept.
LABEL_LENGTH = 100

#: Rows that one transaction folds.
FOLDED_AT_ONCE = 1000

#: A time this close to its arrival counts in its own hour, another one in the hour of its arrival: the wrong
#: clock of another server adds no hours.
EARLIEST, LATEST = timedelta(days=-7), timedelta(hours=1)

#: Counts by series, by the number of the hour since 1970 (UTC), and by label.
Counts: TypeAlias = Counter[tuple[str, int, str]]


class AbstractHourlyCount(PrimaryModel):
    """The count of a label of a series in one hour."""

    name = models.CharField(max_length=32)
    #: The start of the hour.
    hour = models.DateTimeField()
    label = models.CharField(max_length=LABEL_LENGTH, blank=True)
    count = models.BigIntegerField()

    class Meta:
        abstract = True
        constraints = (
            # In the order of the queries: one series, a range of hours.
            models.UniqueConstraint(fields=["name", "hour", "label"], name="%(app_label)s_hourly_count"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.label} at {self.hour}"


class AbstractUnfoldedCounts(PrimaryModel):
    """The counts of a batch, until a fold."""

    #: Where the counts are folded into.
    HOURLY: ClassVar[type[AbstractHourlyCount]]

    #: By series: lists of the hour's number, the label and the count.
    counts = models.JSONField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"unfolded counts {self.pk}"


@dataclass(frozen=True)
class Series:
    """A series of hourly counts, for charts."""

    name: str
    #: The counted things and their labels, in one sentence without a full stop.
    meaning: str
    model: type[AbstractUnfoldedCounts]


#: The declared series, by name.
series: dict[str, Series] = {}


def declare_series(name: str, meaning: str, model: type[AbstractUnfoldedCounts]) -> Series:
    """Declare a series. Raises ValueError if another series has its name."""
    declared = Series(name, meaning, model)
    if series.setdefault(name, declared) != declared:
        raise ValueError(f"Two series have the name {name}.")
    return declared


def hour_of(time: datetime) -> int:
    """The number of the time's hour since 1970 (UTC)."""
    return int(time.timestamp()) // 3600


def start_of(hour: int) -> datetime:
    """The start of the hour of this number."""
    return datetime.fromtimestamp(hour * 3600, UTC)


def hour_near(time: datetime | None, arrival: datetime) -> int:
    """The number of the hour in which a time counts: the hour of the time, or of the arrival."""
    if time is None or not EARLIEST <= time - arrival <= LATEST:
        time = arrival
    return hour_of(time)


# Write


def record_counts(model: type[AbstractUnfoldedCounts], counts: Counts, using: str) -> None:
    """Insert the counts of a batch. Call this in the transaction of the batch."""
    if not counts:
        return
    by_series: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for (name, hour, label), number in _largest(counts).items():
        by_series[name].append((hour, label, number))
    _rows(model, using).create(counts=by_series)


def fold(model: type[AbstractUnfoldedCounts], using: str) -> bool:
    """Fold recorded counts; return whether all are folded.

    Raises a database error: OperationalError too if another transaction is folding.
    """
    with transaction.atomic(using=using):
        lock_writes(model.HOURLY, using, waits=False)
        return fold_locked(model, using)


def fold_locked(model: type[AbstractUnfoldedCounts], using: str) -> bool:
    """As `fold`, in a transaction that has called `lock_writes` for the hourly counts."""
    unfolded = list(_rows(model, using).order_by("pk").values_list("pk", "counts")[:FOLDED_AT_ONCE])
    counts: Counts = Counter()
    for _, by_series in unfolded:
        for name, numbers in by_series.items():
            for hour, label, number in numbers:
                counts[name, hour, label] += number
    names, hours = {name for name, _, _ in counts}, {start_of(hour) for _, hour, _ in counts}
    rows = _rows(model.HOURLY, using).filter(name__in=sorted(names), hour__in=sorted(hours))
    _write(model.HOURLY, rows, lambda before: before + counts, using)
    _rows(model, using).filter(AnyOf("pk", [pk for pk, _ in unfolded])).delete()
    return len(unfolded) < FOLDED_AT_ONCE


def replace(
    model: type[AbstractUnfoldedCounts], names: Sequence[str], since: int, counts: Counts, using: str
) -> None:
    """Replace the counts of these series, from the hour `since` on. An hour before keeps the larger counts.

    Call this in a transaction that has called `lock_writes` for the hourly counts.
    """

    def larger(before: Counts) -> Counts:
        old, new = _totals(before), _totals(counts)

        def is_kept(name: str, hour: int) -> bool:
            return hour < since and old[name, hour] >= new[name, hour]

        kept = {key: number for key, number in before.items() if is_kept(*key[:2])}
        return Counter(kept | {key: number for key, number in counts.items() if not is_kept(*key[:2])})

    first = min([since, *(hour for _, hour, _ in counts)])
    rows = _rows(model.HOURLY, using).filter(name__in=names, hour__gte=start_of(first))
    _write(model.HOURLY, rows, larger, using)


def _totals(counts: Counts) -> Counter[tuple[str, int]]:
    """The sums over all labels."""
    totals: Counter[tuple[str, int]] = Counter()
    for (name, hour, _), number in counts.items():
        totals[name, hour] += number
    return totals


def _write(
    model: type[AbstractHourlyCount],
    rows: "QuerySet[Any]",
    change: Callable[[Counts], Counts],
    using: str,
) -> None:
    """Change the counts in the rows."""
    pks, before = {}, Counts()
    for pk, name, hour, label, number in rows.values_list("pk", "name", "hour", "label", "count"):
        key = name, hour_of(hour), label
        pks[key], before[key] = pk, number
    after = _largest(change(before))
    _rows(model, using).filter(AnyOf("pk", [pks[key] for key in before.keys() - after.keys()])).delete()
    changed = [key for key in after if after[key] != before.get(key)]
    _rows(model, using).bulk_create(
        [
            model(name=name, hour=start_of(hour), label=label, count=after[name, hour, label])
            for name, hour, label in changed
        ],
        update_conflicts=True,
        unique_fields=["name", "hour", "label"],
        update_fields=["count"],
    )


def _largest(counts: Counts) -> Counts:
    """The counts of the labels to keep. The sums of each series and hour stay the same."""
    by_hour: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for (name, hour, label), number in counts.items():
        by_hour[name, hour][clean(label)[:LABEL_LENGTH]] += number
    largest: Counts = Counter()
    for (name, hour), labels in by_hour.items():
        # By name among equals: the order of batches decides nothing.
        ranked = sorted(labels, key=lambda label: (label == OTHER, -labels[label], label))
        for place, label in enumerate(ranked):
            largest[name, hour, label if place < MOST_LABELS else OTHER] += labels[label]
    return largest


# Read


def read(
    name: str, since: datetime, until: datetime, step: Literal["hour", "day"] = "hour"
) -> list[tuple[datetime, str, int]]:
    """The counts of a series, by the start of each hour or day (UTC) and by label, in this order.

    The first hour or day is that of `since`, the last one begins before `until`. Steps and labels without a
    count are left out.
    """
    totals: Counter[tuple[datetime, str]] = Counter()
    for start, label, number in _sums(series[name], _floor(since, step), until, step):
        totals[start, label] += number
    return [(*key, number) for key, number in sorted(totals.items())]


def top(name: str, since: datetime, until: datetime, most: int = 10) -> list[tuple[str, int]]:
    """The largest labels of a series with their counts, the largest first. At the end `OTHER`, if any.

    The first hour is that of `since`, the last one begins before `until`.
    """
    totals: Counter[str] = Counter()
    for _, label, number in _sums(series[name], _floor(since, "hour"), until, "day"):
        totals[label] += number
    others = totals.pop(OTHER, 0)
    ranked = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
    others += sum(number for _, number in ranked[most:])
    return ranked[:most] + [(OTHER, others)] * bool(others)


def _sums(
    wanted: Series, first: datetime, until: datetime, step: Literal["hour", "day"]
) -> Iterator[tuple[datetime, str, int]]:
    start = Trunc("hour", step, tzinfo=UTC)
    folded = wanted.model.HOURLY._default_manager.filter(name=wanted.name, hour__gte=first, hour__lt=until)
    unfolded = wanted.model._default_manager.all()
    nothing = (
        Value(None, models.DateTimeField()),
        Value(None, models.CharField()),
        Value(None, models.BigIntegerField()),
    )
    # One statement: counts that are folded in the meantime are neither missed nor counted twice.
    both = (
        folded.order_by()
        .values_list(start, "label")
        .annotate(total=Sum("count"), numbers=Value(None, models.JSONField()))
    ).union(unfolded.order_by().values_list(*nothing, KeyTransform(wanted.name, "counts")), all=True)
    for at, label, total, numbers in both:
        if total is not None:
            yield at, label, total
        for hour, unfolded_label, number in numbers or ():
            if first <= (at := start_of(hour)) < until:
                yield _floor(at, step), unfolded_label, number


def _floor(time: datetime, step: Literal["hour", "day"]) -> datetime:
    number = hour_of(time)
    return start_of(number - number % 24 if step == "day" else number)


def _rows(model: type[models.Model], using: str) -> "QuerySet[Any]":
    return cast("QuerySet[Any]", model._default_manager.using(using))
