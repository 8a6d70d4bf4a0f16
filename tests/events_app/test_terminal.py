"""What is printed for people."""

import pytest

from events_app.shared.console.terminal import Table, fields, indented, span


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (200_000, "2 days"),
    ],
)
def test_span_prints_a_duration_in_words(seconds: int, says: str) -> None:
    assert span(seconds) == says


def test_no_line_of_a_value_looks_like_a_field_or_a_row() -> None:
    hostile = "fine\n  state          dead\r\x1b[2K  state          dead"
    (field,) = fields({"reason": hostile})
    first, *rest = field.split("\n")
    assert (first, [line.startswith(" " * 17) for line in rest]) == ("  reason         fine", [True])
    assert field.endswith(r"\r\x1b[2K  state          dead")
    assert all(line.startswith("    ") for line in indented(hostile))
    _, row = Table(("id", "reason", "")).lines([(1, hostile, "")])
    assert "\n" not in row
