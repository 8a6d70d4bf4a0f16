"""`./dev bench` refuses unknown arguments and starts nothing then."""

import pytest

from benchmarks.run import USAGE, main


@pytest.mark.parametrize(
    "argv",
    [
        ["nothing"],
        ["door", "nothing"],
        ["door", "growth"],
        ["growth", "many"],
        ["latency", "-1"],
        ["growth", "--keep"],
    ],
)
def test_unknown_arguments_print_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err == f"{USAGE}\n"
