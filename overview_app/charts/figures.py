"""The figures of the charts, from the hourly counts of both apps."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from events_app.shared import hourly
from overview_app.charts.periods import Period
from overview_app.charts.quantiles import bound_of, quantile

#: Reasons and domains that are shown.
MOST = 10

#: Domains that are compared.
MOST_COMPARED = 1000

#: Title of a chart, its series, and the label in this series; None: all labels.
_COUNTED = (
    ("Sent", "sent", None),
    ("Delivered", "events", "delivered"),
    ("Bounced", "events", "bounced"),
    ("Complained", "events", "complained"),
    ("Opened", "events", "opened"),
    ("Clicked", "events", "clicked"),
)


class Counted(NamedTuple):
    """The counts of a kind, by the steps of the period."""

    title: str
    counts: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.counts)


class Latencies(NamedTuple):
    """Seconds from the acceptance by SendGrid to the delivery, for each step; None without a delivery."""

    median: Sequence[float | None]
    most: Sequence[float | None]
    #: Of the whole period.
    whole_median: float | None
    whole_most: float | None


class Domain(NamedTuple):
    """Deliveries and bounces of a receiving domain."""

    name: str
    delivered: int
    bounced: int

    @property
    def bounce_rate(self) -> float:
        """The part that bounced, between 0 and 1."""
        return self.bounced / (self.delivered + self.bounced)


class Figures(NamedTuple):
    """The figures of a period. Times are UTC."""

    period: Period
    starts: Sequence[datetime]
    counted: Sequence[Counted]
    latencies: Latencies | None
    #: With their counts.
    reasons: Sequence[tuple[str, int]]
    domains: Sequence[Domain]


def read_figures(period: Period) -> Figures:
    """The figures up to now. A series that no installed app declares is left out. Raises a database error."""
    now = datetime.now(UTC)
    starts = period.starts(now)
    until = now + timedelta(hours=1)
    return Figures(
        period,
        starts,
        list(_counted(period, starts, until)),
        _latencies(period, starts, until),
        _reasons(starts[0], until),
        _domains(starts[0], until),
    )


def _counted(period: Period, starts: Sequence[datetime], until: datetime) -> Iterator[Counted]:
    by_series = {
        name: hourly.read(name, starts[0], until, period.step)
        for name in dict.fromkeys(name for _, name, _ in _COUNTED)
        if name in hourly.series
    }
    for title, name, wanted in _COUNTED:
        if name in by_series:
            totals: defaultdict[datetime, int] = defaultdict(int)
            for start, label, count in by_series[name]:
                if wanted in (None, label):
                    totals[start] += count
            yield Counted(title, [totals[start] for start in starts])


def _latencies(period: Period, starts: Sequence[datetime], until: datetime) -> Latencies | None:
    if "latency" not in hourly.series:
        return None
    buckets: defaultdict[datetime, dict[float, int]] = defaultdict(dict)
    whole: defaultdict[float, int] = defaultdict(int)
    for start, label, count in hourly.read("latency", starts[0], until, period.step):
        buckets[start][bound_of(label)] = count
        whole[bound_of(label)] += count
    return Latencies(
        [quantile(buckets[start], 0.5) for start in starts],
        [quantile(buckets[start], 0.9) for start in starts],
        quantile(whole, 0.5),
        quantile(whole, 0.9),
    )


def _reasons(since: datetime, until: datetime) -> list[tuple[str, int]]:
    if "bounce_reasons" not in hourly.series:
        return []
    top = hourly.top("bounce_reasons", since, until, MOST)
    return [("other reasons" if label == hourly.OTHER else label, count) for label, count in top]


def _domains(since: datetime, until: datetime) -> list[Domain]:
    """The domains with most deliveries and bounces."""
    if not {"domains_delivered", "domains_bounced"} <= hourly.series.keys():
        return []
    # All kept labels: a domain may be rare among the delivered ones, and frequent among the bounced ones.
    delivered = dict(hourly.top("domains_delivered", since, until, MOST_COMPARED))
    bounced = dict(hourly.top("domains_bounced", since, until, MOST_COMPARED))
    domains = [
        Domain(name, delivered.get(name, 0), bounced.get(name, 0))
        for name in {**delivered, **bounced}
        if name != hourly.OTHER
    ]
    domains.sort(key=lambda domain: (-domain.delivered - domain.bounced, domain.name))
    return domains[:MOST]
