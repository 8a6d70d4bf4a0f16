"""What is printed for people."""

import pytest

from events_app.shared.console.terminal import span


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
