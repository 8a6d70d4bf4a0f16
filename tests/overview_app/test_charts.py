"""The charts: steps of time, quantiles of buckets, round axes, and pictures that parse."""

from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.models import UnfoldedCounts
from events_app.shared import hourly
from overview_app.charts.charts import draw_charts
from overview_app.charts.drawing import Axes, Heading, draw_bars, draw_lines
from overview_app.charts.figures import Domain, read_figures
from overview_app.charts.periods import PERIODS, Period, period_named
from overview_app.charts.quantiles import bound_of, quantile
from overview_app.charts.scales import duration, short, top_of

with_database = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

DAY, WEEKS = period_named("24h"), period_named("30d")

times = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(times, st.sampled_from(PERIODS))
def test_the_last_step_holds_now(now: datetime, period: Period) -> None:
    starts = period.starts(now)
    step = starts[1] - starts[0]
    assert len(starts) == period.steps
    assert starts[-1] <= now < starts[-1] + step
    assert {later - earlier for earlier, later in pairwise(starts)} == {step}


@pytest.mark.parametrize("name", [None, "", "9999d", "<script>"])
def test_an_unknown_period_is_the_default(name: str | None) -> None:
    assert period_named(name) is PERIODS[0]


BOUNDS = (1.0, 5.0, 15.0, 60.0, inf)

buckets = st.dictionaries(st.sampled_from(BOUNDS), st.integers(0, 1000))


@given(buckets, st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_its_place(counts: dict[float, int], share: float) -> None:
    seconds = quantile(counts, share)
    total = sum(counts.values())
    if not total:
        assert seconds is None
        return
    assert seconds is not None
    assert 0 <= seconds <= 60
    up_to = sum(count for bound, count in counts.items() if bound <= seconds)
    assert up_to <= share * total + 1e-6 or seconds in BOUNDS


@given(buckets)
def test_the_median_is_at_most_the_ninth_decile(counts: dict[float, int]) -> None:
    median, most = quantile(counts, 0.5), quantile(counts, 0.9)
    assert (median is None) == (most is None)
    assert median is None or most is None or median <= most


def test_labels_of_latencies_are_bounds() -> None:
    assert [bound_of(label) for label in ("1", "3600", "more", "")] == [1, 3600, inf, inf]


@given(st.floats(0, 1e12))
def test_the_top_of_an_axis_is_round_and_not_far(largest: float) -> None:
    top = top_of(largest)
    assert largest <= top <= max(1, 1.51 * largest)
    assert len(short(top)) <= len("1.5e+06M")


def test_numbers_of_an_axis_are_short() -> None:
    assert [short(number) for number in (0, 5, 2000, 5e6)] == ["0", "5", "2k", "5M"]
    assert [duration(seconds) for seconds in (None, 0.2, 15, 300, 7200)] == [
        "none",
        "1 s",
        "15 s",
        "5 min",
        "2.0 h",
    ]


def axes(labels: list[str]) -> Axes:
    return Axes(labels, labels, short)


@given(st.lists(st.tuples(st.text(), st.integers(0, 10**9)), min_size=1, max_size=50))
def test_bars_are_a_picture_with_the_number_of_each_step(steps: list[tuple[str, int]]) -> None:
    # XML holds no control characters; no label has one.
    labels = ["".join(filter(str.isprintable, label)) for label, _ in steps]
    counts = [count for _, count in steps]
    picture = ET.fromstring(draw_bars(Heading("sent", "Sent <b>", "Mails & more."), counts, axes(labels)))
    titles = [title.text for title in picture.iter("title")]
    assert titles == ["Sent <b>", *(f"{label}: {short(n)}" for label, n in zip(labels, counts, strict=True))]
    heights = [
        float(bar.attrib["height"]) for bar in picture.iter("rect") if "chart-bar" in bar.attrib["class"]
    ]
    assert all(
        (height == 0) <= (count <= max(counts) / 100) for height, count in zip(heights, counts, strict=True)
    )


@given(st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_step_without_a_value_interrupts_the_line(values: list[float | None]) -> None:
    picture = ET.fromstring(
        draw_lines(Heading("latency", "Time", ""), {"most": values}, axes([""] * len(values)))
    )
    runs = [line.attrib["points"].split() for line in picture.iter("polyline")]
    known = [value for value in values if value is not None]
    assert sum(map(len, runs)) == len(known) == len(list(picture.iter("circle")))


@pytest.fixture
def now(database: str) -> datetime:
    """Now, with counts of this hour, of the hour before, and of the day before."""
    now = datetime.now(UTC)
    hour = hourly.hour_of(now)
    counts = hourly.Counts()
    for ago, number in ((0, 3), (1, 10), (24, 100)):
        counts["events", hour - ago, "delivered"] = number
    for ago, number in ((0, 3), (1, 10)):
        counts["domains_delivered", hour - ago, "example.com"] = number
    counts["events", hour, "bounced"] = counts["bounce_reasons", hour, "<b>full</b>"] = 1
    counts["domains_bounced", hour, "example.com"] = counts["domains_bounced", hour, "gone.example"] = 1
    hourly.record_counts(UnfoldedCounts, counts, database)
    return now


@with_database
def test_figures_are_those_of_the_hourly_counts(now: datetime) -> None:
    figures = read_figures(DAY)
    delivered = next(counted for counted in figures.counted if counted.title == "Delivered")
    assert (delivered.counts[-2:], delivered.total) == ([10, 3], 13)
    assert figures.reasons == [("<b>full</b>", 1)]
    assert figures.domains == [Domain("example.com", 13, 1), Domain("gone.example", 0, 1)]
    assert figures.domains[0].bounce_rate == 1 / 14
    month = next(counted for counted in read_figures(WEEKS).counted if counted.title == "Delivered")
    assert month.total == 113
    assert month.counts[-1] >= 3


@with_database
def test_a_chart_has_its_numbers_in_a_table(now: datetime) -> None:
    charts = draw_charts(DAY)
    column = charts.head.index("Delivered")
    assert [row[column] for row in charts.rows[:2]] == ["3", "10"]
    assert ("gone.example", "0", "1", "100.0 %") in charts.domains


@with_database
def test_series_of_apps_that_are_not_installed_are_left_out(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly, "series", {})
    charts = draw_charts(DAY)
    assert (list(charts.charts), list(charts.domains), list(charts.reasons)) == ([], [], [])
