"""Each row names a benchmark, and its goal is judged correctly."""

from importlib.util import find_spec

import pytest

from benchmarks.rows import ROWS, Row

AT_LEAST = Row("speed", "Ours", "the rival", "events/s", 20)
AT_MOST = Row("time", "Ours", "the rival", "ms", 1 / 2, at_most=True)


@pytest.mark.parametrize(("row", "reached", "missed"), [(AT_LEAST, 20.0, 19.9), (AT_MOST, 0.5, 0.51)])
def test_a_goal_is_reached_or_missed(row: Row, reached: float, missed: float) -> None:
    assert row.holds(reached)
    assert not row.holds(missed)


def test_a_goal_is_printed_in_words() -> None:
    assert (AT_LEAST.aim, AT_MOST.aim) == ("at least 20", "at most 0.5")


def test_each_row_has_a_unique_name_and_a_script() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(find_spec(f"benchmarks.{row.script}") for row in ROWS)


def test_a_row_on_sqlite_has_the_script_of_its_postgresql_row() -> None:
    on_sqlite = [row for row in ROWS if row.sqlite]
    assert on_sqlite
    assert all(row.name.endswith("_sqlite") and "SQLite" in row.what for row in on_sqlite)
    twins = {row.name: row for row in ROWS if not row.sqlite}
    assert all(row.goal <= twins[row.script].goal for row in on_sqlite)
