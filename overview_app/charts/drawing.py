"""Charts as SVG. Colours come from classes of the style sheet, for a light and a dark theme."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from overview_app.charts.scales import top_of

#: In the units of the picture, which is drawn as wide as its place.
WIDTH, HEIGHT = 320, 112
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 4, 8, 18


class Heading(NamedTuple):
    """The words of a chart."""

    #: Unique on the page; the class of the colour of bars.
    name: str
    title: str
    #: For readers who do not see the picture.
    description: str


class Axes(NamedTuple):
    """The axes of a chart: the labels of the steps, and the words of a value."""

    labels: Sequence[str]
    long_labels: Sequence[str]
    words: Callable[[float], str]


def draw_bars(heading: Heading, values: Sequence[int], axes: Axes) -> SafeString:
    """A bar for each step."""
    top = top_of(max(values, default=0))
    step = (WIDTH - _LEFT - _RIGHT) / len(values)
    columns = format_html_join(
        "",
        '<g><title>{}: {}</title><rect class="chart-hit" x="{}" y="{}" width="{}" height="{}"/>'
        '<rect class="chart-bar chart-{}" x="{}" y="{}" width="{}" height="{}"/></g>',
        (
            (
                *(axes.long_labels[at], axes.words(value)),
                *(_text(_LEFT + at * step), _TOP, _text(step), HEIGHT - _TOP - _BOTTOM, heading.name),
                *(_text(_LEFT + at * step + step * 0.1), _text(_y(value, top)), _text(step * 0.8)),
                _text(HEIGHT - _BOTTOM - _y(value, top)),
            )
            for at, value in enumerate(values)
        ),
    )
    return _picture(heading, columns, top, axes)


def draw_lines(heading: Heading, values: dict[str, Sequence[float | None]], axes: Axes) -> SafeString:
    """A line for each sequence of values, by its class. A step without a value interrupts the line."""
    known = [value for sequence in values.values() for value in sequence if value is not None]
    top = top_of(max(known, default=0))
    step = (WIDTH - _LEFT - _RIGHT) / len(axes.labels)
    drawn = [
        format_html(
            "{}{}",
            format_html_join(
                "",
                '<polyline class="chart-line chart-{}" points="{}"/>',
                ((colour, points) for points in _runs(sequence, step, top)),
            ),
            format_html_join(
                "",
                '<circle class="chart-dot chart-{}" cx="{}" cy="{}" r="2"><title>{}: {}</title></circle>',
                (
                    (
                        *(colour, _text(_x(at, step)), _text(_y(value, top))),
                        *(axes.long_labels[at], axes.words(value)),
                    )
                    for at, value in enumerate(sequence)
                    if value is not None
                ),
            ),
        )
        for colour, sequence in values.items()
    ]
    return _picture(heading, format_html_join("", "{}", ((part,) for part in drawn)), top, axes)


def _runs(sequence: Sequence[float | None], step: float, top: float) -> Iterator[str]:
    """The points of each run of neighbours with a value."""
    for has_value, run in groupby(enumerate(sequence), key=lambda pair: pair[1] is not None):
        if has_value:
            yield " ".join(f"{_text(_x(at, step))},{_text(_y(value or 0, top))}" for at, value in run)


def _picture(heading: Heading, content: SafeString, top: float, axes: Axes) -> SafeString:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    grid = format_html_join(
        "",
        '<line class="chart-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (
                _LEFT,
                right,
                _text(_y(value, top)),
                _text(_y(value, top)),
                _LEFT - 4,
                _text(_y(value, top) + 3),
                words,
            )
            for value, words in ((0.0, axes.words(0)), (top, axes.words(top)))
        ),
    )
    last = len(axes.labels) - 1
    step = (right - _LEFT) / len(axes.labels)
    times = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="{}">{}</text>',
        (
            (_text(_x(at, step) if anchor == "middle" else x), bottom + 13, anchor, axes.labels[at])
            for at, anchor, x in ((0, "start", _LEFT), (last // 2, "middle", 0), (last, "end", right))
        ),
    )
    return format_html(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{}</title><desc id="{name}-desc">{}</desc>{}{}{}</svg>',
        *(WIDTH, HEIGHT, heading.title, heading.description, grid, content, times),
        name=heading.name,
    )


def _x(at: int, step: float) -> float:
    """The middle of a step."""
    return _LEFT + (at + 0.5) * step


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


# Not the format of a template, which writes a decimal comma in some languages.
def _text(number: float) -> str:
    return f"{number:.1f}"
