"""The selection of tests by `./dev test`."""

import pytest

from devstack.test import arguments


@pytest.mark.parametrize("argv", [[], ["-x"], ["--numprocesses", "2"]])
def test_slow_tests_are_left_out_by_default(argv: list[str]) -> None:
    assert arguments(argv) == ["-m", "not slow", "--hypothesis-profile", "few", *argv]


@pytest.mark.parametrize(
    "argv", [["tests/flows"], ["tests/test_house.py::test_it", "-x"], ["-k", "outlives"], ["-m", "slow"]]
)
def test_named_tests_include_slow_ones(argv: list[str]) -> None:
    assert arguments(argv) == argv


def test_all_includes_slow_tests() -> None:
    assert arguments(["--all", "-x"]) == ["--numprocesses", "6", "-x"]
