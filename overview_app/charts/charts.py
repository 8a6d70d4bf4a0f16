"""The charts of a period: pictures, and a table with the same numbers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.utils.safestring import SafeString

from overview_app.charts.drawing import Axes, Heading, draw_bars, draw_lines
from overview_app.charts.figures import Counted, Domain, Figures, Latencies, read_figures
from overview_app.charts.periods import Period
from overview_app.charts.scales import duration, short


class Chart(NamedTuple):
    title: str
    #: The number of the whole period.
    total: str
    picture: SafeString
    #: The lines, by the class of the colour.
    keys: Sequence[tuple[str, str]] = ()


class Charts(NamedTuple):
    period: Period
    charts: Sequence[Chart]
    #: The head of the table with the numbers of the charts, and its rows, the latest first.
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: Reasons of bounces, with their counts.
    reasons: Sequence[tuple[str, str]]
    #: Domain, delivered, bounced, and the part that bounced.
    domains: Sequence[tuple[str, str, str, str]]


def draw_charts(period: Period) -> Charts:
    """The charts up to now. Raises a database error."""
    figures = read_figures(period)
    charts = [_bars(counted, figures) for counted in figures.counted]
    head = ["Time (UTC)", *(counted.title for counted in figures.counted)]
    columns = [[f"{count:,}" for count in counted.counts] for counted in figures.counted]
    if figures.latencies:
        charts.append(_latency(figures.latencies, figures))
        head += ["Delivery, median", "Delivery, 90 %"]
        columns += [
            [duration(seconds) for seconds in sequence]
            for sequence in (figures.latencies.median, figures.latencies.most)
        ]
    times = [period.long_label(start) for start in figures.starts]
    rows = [*zip(times, *columns, strict=True)][::-1]
    reasons = [(reason, f"{count:,}") for reason, count in figures.reasons]
    return Charts(period, charts, head, rows, reasons, [*map(_cells, figures.domains)])


def _cells(domain: Domain) -> tuple[str, str, str, str]:
    rate = f"{100 * domain.bounce_rate:.1f} %"
    return domain.name, f"{domain.delivered:,}", f"{domain.bounced:,}", rate


def _bars(counted: Counted, figures: Figures) -> Chart:
    name, total = counted.title.lower(), f"{counted.total:,}"
    each = "an hour" if figures.period.step == "hour" else "a day"
    description = f"{total} in the last {figures.period.words}, at most {max(counted.counts):,} {each}."
    picture = draw_bars(Heading(name, counted.title, description), counted.counts, _axes(figures, short))
    return Chart(counted.title, total, picture)


def _latency(latencies: Latencies, figures: Figures) -> Chart:
    title = "Time to delivery"
    median = f"median {duration(latencies.whole_median)}"
    most = f"90 % within {duration(latencies.whole_most)}"
    description = f"From the acceptance by SendGrid to the delivery: {median}, {most}."
    values = {"median": latencies.median, "most": latencies.most}
    picture = draw_lines(Heading("latency", title, description), values, _axes(figures, duration))
    return Chart(title, "", picture, [("median", median), ("most", most)])


def _axes(figures: Figures, words: Callable[[float], str]) -> Axes:
    period, starts = figures.period, figures.starts
    return Axes(
        [period.label(start) for start in starts], [period.long_label(start) for start in starts], words
    )
