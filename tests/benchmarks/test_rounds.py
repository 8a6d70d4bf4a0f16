"""Both sides are measured in turn."""

import json

import pytest

from benchmarks.rounds import alternate, report


def test_sides_alternate_in_who_begins_each_round() -> None:
    order: list[str] = []

    def side(name: str, figure: float) -> float:
        order.append(name)
        return figure

    ours, rival = alternate(lambda: side("ours", 2.0), lambda: side("rival", 1.0), 3)
    assert order == ["ours", "rival", "rival", "ours", "ours", "rival"]
    assert (ours, rival) == ([2.0] * 3, [1.0] * 3)


def test_figures_are_printed_as_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    report([2.0, 3.0], [1.0])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"ours": [2.0, 3.0], "rival": [1.0]}
