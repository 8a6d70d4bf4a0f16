"""What operators write for a time is the time they mean."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from events_app.shared.console.options import moment


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-07-14", datetime(2026, 7, 14, tzinfo=UTC)),
        ("2026-07-14T06:30", datetime(2026, 7, 14, 6, 30, tzinfo=UTC)),
        ("2026-07-14 06:30:05", datetime(2026, 7, 14, 6, 30, 5, tzinfo=UTC)),
        ("2026-07-14T06:30Z", datetime(2026, 7, 14, 6, 30, tzinfo=UTC)),
        (" 2026-07-14T06:30+02:00 ", datetime(2026, 7, 14, 4, 30, tzinfo=UTC)),
    ],
)
def test_a_date_or_time_option_is_read_as_utc(text: str, meant: datetime) -> None:
    found = moment(text)
    assert found == meant
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30s", timedelta(seconds=30)),
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_an_age_option_is_read_as_a_time_in_the_past(text: str, age: timedelta) -> None:
    assert timezone.now() - age - timedelta(minutes=1) < moment(text) <= timezone.now() - age


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2h30", "-2h", "3 d", "999999w", "2026-13-01", "0001-01-01T00:00+14:00", "٣d"]
)
def test_an_invalid_time_option_says_what_to_write(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"Write a date \(2026-07-14.*, a time .* or an age \(90m"):
        moment(text)


@pytest.mark.parametrize("command", ["events", "outbox"])
@pytest.mark.parametrize("action", ["list", "show", "retry", "status"])
def test_help_fits_a_terminal(
    command: str, action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        call_command(command, action, "--help")
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert action == "status" or "--state STATE" in said
