"""Results are printed and stored as measured."""

import json

import pytest

from benchmarks.results import Result, figure, page, short, table
from benchmarks.rows import Row

ROW = Row("speed", "Ours", "the rival", "events/s", 20)
REACHED = Result(ROW, [2000.0, 2500.0, 1000.0], [100.0, 100.0, 50.0])
MISSED = Result(ROW._replace(name="other"), [190.0], [10.0])


def test_the_ratio_is_that_of_the_medians() -> None:
    assert (REACHED.ratio, REACHED.holds) == (20.0, True)
    assert (MISSED.ratio, MISSED.holds) == (19.0, False)


@pytest.mark.parametrize(
    ("number", "told"), [(0.012345, "0.0123"), (1.2345, "1.23"), (99.94, "99.9"), (12345.6, "12,346")]
)
def test_short_rounds_to_three_digits(number: float, told: str) -> None:
    assert short(number) == told


def test_a_figure_is_the_median_and_its_bounds() -> None:
    assert figure([3.0, 1.0, 2.0]) == "2 (1 to 3)"
    assert figure([2.0, 2.0]) == "2"


def test_the_table_has_one_row_per_benchmark() -> None:
    assert list(table([REACHED, MISSED]))[2:] == [
        "| `speed` | Ours | the rival | 2,000 (1,000 to 2,500) | 100 (50 to 100) "
        "| events/s | 20 | at least 20 | holds |",
        "| `other` | Ours | the rival | 190 | 10 | events/s | 19 | at least 20 | missed |",
    ]


def test_a_result_is_printed_in_one_line() -> None:
    assert str(MISSED) == "190 against 10 events/s: 19, goal at least 20, MISSED"


def test_the_page_names_the_machine_and_has_the_table() -> None:
    text = page("2 cores, PostgreSQL 18", [REACHED])
    assert "\n2 cores, PostgreSQL 18. Medians" in text
    assert text.endswith("\n".join(table([REACHED])) + "\n")


def test_a_result_is_serializable_as_json() -> None:
    assert json.loads(json.dumps(REACHED.as_json())) == {
        "ours": 2000.0,
        "rival": 100.0,
        "ratio": 20.0,
        "goal": 20,
        "holds": True,
    }
