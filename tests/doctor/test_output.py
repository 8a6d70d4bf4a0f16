"""The command's output: for people, for programs, and on a terminal."""

import json
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from events_app.shared import mail_probe
from fake_sendgrid.server import FakeSendGrid
from tests.support.brokers import UNREACHABLE
from tests.support.commands import Terminal
from tests.support.doctor import examine

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

#: Subjects about processes, of which a test has none.
PROCESSES = ("Workers", "Backlog")


@pytest.mark.usefixtures("database")
def test_a_deployment_that_is_well_has_no_warning() -> None:
    run = examine()
    assert run.faults(ignoring=PROCESSES) == []
    subjects = {line.subject for line in run.lines}
    assert subjects >= {"Configuration", "Versions", "Redis", "Database", "Clocks", "Broker", "SendGrid"}


def test_the_level_hides_what_is_better() -> None:
    run = examine("--level", "error")
    assert {line.level for line in run.lines} <= {"error"}
    assert " lines." in run.output.splitlines()[-1]


def test_json_is_one_document_with_each_fact() -> None:
    out = StringIO()
    with suppress(SystemExit):
        call_command("doctor", "--json", stdout=out)
    document = json.loads(out.getvalue())
    facts = {(fact["name"], *fact["labels"].values()): fact for fact in document["facts"]}
    version = facts["redis_version", "stream"]
    assert version.keys() == {"subject", "name", "labels", "value", "level", "text", "advice"}
    assert (version["subject"], version["level"], version["advice"]) == ("Redis", "ok", "")
    assert facts["credits_left", "default"]["value"] == 100_000


def test_an_error_sets_the_exit_code(anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="nothing")
    run = examine()
    assert run.exit_code == 1
    assert "error" in run.output.splitlines()[-1].lower()


def test_no_secret_is_printed_whatever_is_broken(
    anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    secret = "8c1f3e6a"
    anymail(
        EVENT_REDIS_URL=UNREACHABLE.replace("//", f"//user:{secret}@"),
        SENDGRID_API_KEY=f"SG.{secret}",
        WEBHOOK_SECRET=secret,
        SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=secret,
    )
    assert secret not in examine().output
    assert "shop@" not in examine().output


def test_a_terminal_gets_lines_of_its_width() -> None:
    out, progress = Terminal(), Terminal()
    with mock.patch.dict("os.environ", {"COLUMNS": "60"}), suppress(SystemExit):
        call_command("doctor", "--no-color", stdout=out, stderr=progress)
    assert max(map(len, out.getvalue().splitlines())) <= 60
    first, second, *_ = progress.getvalue().split("\r")
    assert first.startswith("Examining")
    assert second == " " * 59  # nothing of it stays on the line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--mail-to", "nobody"], "not a mail address"), (["--wait", "0"], "from 1 to 3600")],
)
def test_a_wrong_option_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("doctor", *arguments)


def test_without_sending_app_no_mail_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_probe, "probe", None)
    with pytest.raises(CommandError, match="sending_app"):
        call_command("doctor", "--mail-to", "ops@example.com")
