"""The error of a failed receiver in a line."""

import pytest

from events_app.dispatch import reasons
from tests.support.commands import TRACEBACK


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TRACEBACK, "ConnectionError: the shop is closed"),
        ("No receiver of this name is connected.", "No receiver of this name is connected."),
        ("Traceback (most recent call last):\n  File", "File"),
        ("x" * 5, "xxxxx"),
        (
            "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: two (2 in it)\n",
            "| ExceptionGroup: two (2 in it)",
        ),
    ],
)
def test_the_last_line_of_a_traceback_is_shown(error: str, says: str) -> None:
    assert reasons.last_words(error).strip() == says
