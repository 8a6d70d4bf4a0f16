"""Which tests `./dev test` runs."""

import pytest

from ground.test import arguments


@pytest.mark.parametrize("argv", [[], ["-x"], ["--numprocesses", "2"]])
def test_by_itself_it_leaves_out_the_slow_ones(argv: list[str]) -> None:
    assert arguments(argv) == ["-m", "not slow", "--hypothesis-profile", "few", *argv]


@pytest.mark.parametrize(
    "argv", [["tests/flows"], ["tests/test_house.py::test_it", "-x"], ["-k", "outlives"], ["-m", "slow"]]
)
def test_tests_that_are_named_run(argv: list[str]) -> None:
    assert arguments(argv) == argv


def test_all_runs_each() -> None:
    assert arguments(["--all", "-x"]) == ["-x"]
