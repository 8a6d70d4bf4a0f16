"""`manage.py suppressions`, as an operator calls it."""

import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.shared.database import SLICE, database_now
from events_app.shared.personal_data.pseudonyms import pseudonym
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app.management.commands import suppressions as command
from sending_app.models import Suppression
from sending_app.suppression import file_import
from sending_app.suppression.record import Word, record_words
from tests.support.commands import interrupt_second_call, output_of
from tests.support.databases import database_away

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

Reason, Source = Suppression.Reason, Suppression.Source

OLD = datetime(2026, 1, 1, 8, 30, tzinfo=UTC)

run = partial(output_of, "suppressions")


def failure(*args: object) -> tuple[str, str]:
    """The output, and the error that ends the command."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("suppressions", *map(str, args), stdout=out, stderr=out)
    return out.getvalue(), str(caught.value)


def word(database: str, address: str, **columns: Any) -> None:
    columns = {"reason": Reason.UNSUBSCRIBED, "source": Source.EVENT, "at": OLD, **columns}
    record_words([Word(address=address, **columns)], database)


def listed(*args: object) -> list[str]:
    return [json.loads(line)["address"] for line in run("list", *args, "--json").splitlines()]


def active() -> set[str]:
    return set(Suppression.objects.filter(active=True).values_list("address", flat=True))


# list


def test_list_shows_the_newest_first_and_says_what_the_limit_leaves_out(database: str) -> None:
    word(database, "ann@example.com", scope="news")
    word(database, "bob@example.com", reason=Reason.SPAM, until=datetime(2099, 1, 1, tzinfo=UTC))
    lines = run("list").splitlines()
    assert lines[0].split() == [
        "since",
        "(UTC)",
        "state",
        "reason",
        "source",
        "until",
        "(UTC)",
        "scope",
        "address",
    ]
    assert lines[1].split() == [
        *("2026-01-01", "08:30", "active", "spam", "event", "2099-01-01", "00:00", "bob@example.com")
    ]
    assert lines[2].split()[-2:] == ["news", "ann@example.com"]
    assert lines[-1] == "2 suppressions"
    assert (
        run("list", "--limit", 1).splitlines()[-1] == "The newest 1 of 2 suppressions; --limit 0 lists all."
    )


def test_list_says_when_no_suppression_matches(database: str) -> None:
    assert run("list", "--address", "nobody@example.net") == "No suppression matches.\n"


def test_list_as_json_leaves_nothing_out(database: str) -> None:
    word(database, "ann@example.com", event_id="e1")
    (row,) = map(json.loads, run("list", "--json").splitlines())
    assert row == {
        "id": Suppression.objects.get().pk,
        "address": "ann@example.com",
        "scope": "",
        "reason": "unsubscribed",
        "state": "active",
        "since": "2026-01-01T08:30:00+00:00",
        "until": None,
        "decided_at": "2026-01-01T08:30:00+00:00",
        "source": "event",
        "event_id": "e1",
    }


def test_list_applies_all_filters(database: str) -> None:
    word(database, "ann@example.com")
    word(database, "anna@xn--bcher-kva.example", reason=Reason.SPAM, scope="news", source=Source.IMPORT)
    word(database, "joann@example.com", active=False)
    word(database, "bob@example.com", reason=Reason.BLOCKED, until=OLD + timedelta(1))
    anna = ["anna@xn--bcher-kva.example"]
    assert listed() == [*anna, "ann@example.com"]
    assert listed("--address", "ANN@example.com") == ["ann@example.com"]
    assert listed("--address", "Ann*") == [*anna, "ann@example.com"]
    assert listed("--address", "anna@bücher.example") == anna
    assert listed("--address", "*") == []
    assert listed("--reason", "spam", "--reason", "blocked") == anna
    assert listed("--scope", "news") == anna
    assert listed("--scope", "") == ["ann@example.com"]
    assert listed("--source", "import") == anna
    assert listed("--ended") == ["bob@example.com", "joann@example.com"]
    states = [json.loads(line)["state"] for line in run("list", "--ended", "--json").splitlines()]
    assert states == ["expired", "ended"]


def test_an_erased_person_is_found_by_the_address(database: str, anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    word(database, pseudonym("ann@example.com"))
    assert listed("--address", "Ann@example.com") == [pseudonym("ann@example.com")]
    run("remove", "ann@example.com")
    assert active() == set()


# add and remove


def test_add_suppresses_from_now_on(database: str) -> None:
    before = database_now(database)
    assert run("add", "Ann@Example.com", "bob@example.com") == "Suppressed 2 addresses.\n"
    ann = Suppression.objects.get(address="ann@example.com")
    assert (ann.reason, ann.scope, ann.source, ann.until) == ("blocked", "", "operator", None)
    assert before <= ann.since <= database_now(database)
    run("add", "ann@example.com", "--reason", "unsubscribed", "--scope", "news", "--until", "30d")
    news = Suppression.objects.get(scope="news")
    assert news.until is not None
    assert timedelta(days=29, hours=23) < news.until - news.since <= timedelta(days=30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nobody"], "Invalid address 'nobody'"),
        (["ann@example.com", "bob@localhost"], "Invalid address 'bob@localhost'"),
        (["ann@example.com", "--scope", "group:news"], "the number of an unsubscribe group"),
        (["ann@example.com", "--until", "2020-01-01"], "must lie in the future"),
        (["ann@example.com", "--until", "soon"], "'soon' is no time"),
        (["ann@example.com", "--reason", "bounce"], "'bounce' is no reason"),
    ],
)
def test_add_says_what_is_wrong_and_changes_nothing(database: str, options: list[str], words: str) -> None:
    assert words in failure("add", *options)[1]
    assert not Suppression.objects.exists()


def test_remove_ends_the_suppressions_of_an_address(database: str) -> None:
    word(database, "ann@example.com")
    word(database, "ann@example.com", reason=Reason.BOUNCED)
    word(database, "ann@example.com", scope="news")
    word(database, "bob@example.com")
    preview = run("remove", "ann@example.com", "--dry-run")
    assert "Would remove 3 of 3 suppressions. Nothing was changed." in preview
    assert run("remove", "ann@example.com", "--scope", "news").startswith("Removed 1 of 1 suppression.")
    assert run("remove", "ann@example.com", "--reason", "bounced").startswith("Removed 1 of 1 suppression.")
    said = run("remove", "Ann@example.com", "nobody@example.com")
    assert "No suppression of nobody@example.com matches." in said
    assert "Removed 1 of 3 suppressions." in said
    assert "manage.py suppressions sync --push --apply" in said
    assert active() == {"bob@example.com"}


def test_remove_without_a_suppression_is_an_error(database: str) -> None:
    assert "No suppression of ann@example.com matches." in failure("remove", "ann@example.com")[0]


def test_a_replay_of_old_events_does_not_bring_a_removed_suppression_back(database: str) -> None:
    word(database, "ann@example.com", event_id="e1")
    # SendGrid's clock may be ahead of ours.
    ahead = database_now(database) + timedelta(minutes=1)
    word(database, "bob@example.com", at=ahead)
    run("remove", "ann@example.com", "bob@example.com")
    word(database, "ann@example.com", event_id="e1")
    word(database, "bob@example.com", at=ahead)
    assert active() == set()
    word(database, "ann@example.com", at=database_now(database) + timedelta(minutes=2))
    assert active() == {"ann@example.com"}


# import and export


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "addresses.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_import_skips_bad_lines_and_says_which(database: str, file: Callable[[str], Path]) -> None:
    word(database, "known@example.com", reason=Reason.SPAM)
    text = "email,reason,created\nann@example.com,spam,1443651125\nnobody,spam,\nknown@example.com,spam,\n"
    said, error = failure("import", file(text))
    assert "Line 3: Invalid address 'nobody'" in said
    assert "Suppressed 1 of 3 lines." in said
    assert "1 left alone: suppressed already, ended later, or named twice." in said
    assert error == "1 bad line skipped."
    row = Suppression.objects.get(address="ann@example.com")
    assert (row.source, row.since) == ("import", datetime.fromtimestamp(1443651125, UTC))


def test_import_lists_a_bounded_number_of_bad_lines(database: str, file: Callable[[str], Path]) -> None:
    text = "email\n" + "nobody\n" * (command.LISTED + 7)
    said, error = failure("import", file(text), "--reason", "spam")
    assert said.count("Line ") == command.LISTED
    assert error == f"{command.LISTED + 7} bad lines skipped."


def test_a_dry_run_of_an_import_counts_and_changes_nothing(
    database: str, file: Callable[[str], Path]
) -> None:
    path = file("email\n" + "".join(f"ann{number}@example.com\n" for number in range(SLICE + 5)))
    said = run("import", path, "--reason", "bounced", "--dry-run")
    assert said == f"Would suppress {SLICE + 5} of {SLICE + 5} lines.\n"
    assert not Suppression.objects.exists()
    assert run("import", path, "--reason", "bounced") == f"Suppressed {SLICE + 5} of {SLICE + 5} lines.\n"
    assert run("import", path, "--reason", "bounced").startswith(f"Suppressed 0 of {SLICE + 5} lines.")


def test_import_reads_the_standard_input(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "\ufeffemail;reason\r\nann@example.com;spam\r\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("import", "-") == "Suppressed 1 of 1 line.\n"


def test_import_does_not_bring_back_what_ended_later(database: str, file: Callable[[str], Path]) -> None:
    word(database, "ann@example.com")
    run("remove", "ann@example.com")
    text = "email,reason,created\nann@example.com,unsubscribed,2026-02-01\n"
    assert run("import", file(text)).startswith("Suppressed 0 of 1 line.")
    assert active() == set()


def test_import_costs_two_statements_a_slice(database: str, file: Callable[[str], Path]) -> None:
    path = file("email\n" + "".join(f"ann{number}@example.com\n" for number in range(3 * SLICE)))
    with CaptureQueriesContext(connections[database]) as queries:
        run("import", path, "--reason", "bounced")
    assert len(queries) <= 2 * 4 + 1


def test_an_interrupted_import_keeps_its_slices_and_is_run_again(
    database: str, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("email\n" + "".join(f"ann{number}@example.com\n" for number in range(3 * SLICE)))
    with monkeypatch.context() as patch:
        interrupt_second_call(patch, file_import, "record_words")
        said, error = failure("import", path, "--reason", "bounced")
    assert f"Suppressed {SLICE} of {2 * SLICE} lines." in said
    assert error == "Interrupted. Changes made so far stay."
    assert run("import", path, "--reason", "bounced").startswith(
        f"Suppressed {2 * SLICE} of {3 * SLICE} lines."
    )


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("ann@example.com\n", "utf-8", "The first line must name the columns"),
        ("email\nann@example.com\n", "utf-16", "must be CSV in UTF-8"),
        ("email\nann@example.com\n", "utf-8", "--reason"),
    ],
)
def test_import_of_another_file_says_what_to_change(
    database: str, file: Callable[..., Path], text: str, encoding: str, words: str
) -> None:
    assert words in failure("import", file(text, encoding))[1]


def test_import_of_a_missing_file_is_an_error(database: str, tmp_path: Path) -> None:
    assert "The file cannot be read" in failure("import", tmp_path / "none.csv")[1]


def test_an_export_is_imported_elsewhere(database: str, file: Callable[[str], Path]) -> None:
    word(database, "ann@example.com", scope="-news", until=datetime(2099, 1, 1, tzinfo=UTC))
    word(database, "=cmd@example.com", reason=Reason.SPAM)
    word(database, "ended@example.com", active=False)
    exported = run("export")
    assert [line[0] for line in csv.reader(exported.splitlines())] == [
        *("address", "ann@example.com", "'=cmd@example.com")
    ]
    columns = ("address", "scope", "reason", "since", "until")
    rows = set(Suppression.objects.filter(active=True).values_list(*columns))
    Suppression.objects.all().delete()
    run("import", file(exported))
    assert set(Suppression.objects.values_list(*columns)) == rows
    assert run("export", "--reason", "spam").count("\n") == 2


def test_without_its_database_the_command_says_so(database: str) -> None:
    with database_away(database):
        assert "The database cannot be asked" in failure("list")[1]


# sync


def test_sync_reports_then_applies(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", OLD.timestamp())
    sendgrid.suppressions.add("unsubscribes", "ended@example.com", OLD.timestamp())
    word(database, "ended@example.com")
    run("remove", "ended@example.com")
    word(database, "missing@example.com", source=Source.IMPORT)
    word(database, "vanished@example.com", source=Source.SENDGRID)
    word(database, "stream@example.com", scope="news")
    assert run("sync").splitlines() == [
        "bounces: 1 at SendGrid",
        "  Would suppress here: 1.",
        "spam reports: 0 at SendGrid",
        "invalid emails: 0 at SendGrid",
        "global unsubscribes: 1 at SendGrid",
        "  Ended here by an operator and still there: 1. --push removes them.",
        "  Suppressed here and missing there: 1. --push adds them.",
        "  No longer there: 1 (vanished@example.com).",
        "  They stay suppressed here; --pull-removals ends them.",
        "unsubscribe groups: 0 at SendGrid",
        "1 suppression of this project alone: SendGrid has no list for blocked addresses, for scopes of your "
        "own, and for suppressions with an end.",
        "Nothing was changed. --apply makes the changes.",
    ]
    planned = run("sync", "--push", "--pull-removals").splitlines()
    assert planned[5:9] == [
        "  Would remove there: 1. An operator ended them here.",
        "  Would add there: 1.",
        "  No longer there: 1 (vanished@example.com).",
        "  --apply ends those that are on no list of any account.",
    ]
    done = run("sync", "--push", "--pull-removals", "--apply").splitlines()
    assert done[1] == "  Suppressed here: 1."
    assert done[5:9] == [
        "  Removed there: 1. An operator ended them here.",
        "  Added there: 1.",
        "  No longer there: 1 (vanished@example.com).",
        "  Ended here: 1. Others are on a list of SendGrid's after all.",
    ]
    assert active() == {"ann@example.com", "missing@example.com", "stream@example.com"}
    assert sendgrid.suppressions.emails("unsubscribes") == ["missing@example.com"]


def test_sync_waits_for_a_rate_limit_and_tells_how_long(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", OLD.timestamp())
    sendgrid.suppression_api.plan(1, responses.rate_limited(0))
    said = run("sync", "--apply")
    assert "SendGrid's rate limit: waiting 1 s." in said
    assert active() == {"ann@example.com"}


def test_a_broken_off_sync_reports_what_it_did(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", OLD.timestamp())
    sendgrid.account.scopes = [name for name in sendgrid.account.scopes if "spam" not in name]
    said, error = failure("sync", "--apply")
    assert said.splitlines() == [
        "bounces: 1 at SendGrid",
        "  Suppressed here: 1.",
        "spam reports: 0 at SendGrid",
    ]
    assert "lacks a scope: suppression.spam_reports.read" in error
    assert active() == {"ann@example.com"}


def test_sync_names_an_unknown_account(database: str, sendgrid: FakeSendGrid) -> None:
    assert "no mailer 'letters'" in failure("sync", "--account", "letters")[1]


def test_progress_is_shown_on_a_terminal(
    database: str, sendgrid: FakeSendGrid, file: Callable[[str], Path]
) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", OLD.timestamp())
    assert "bounces: 1\r" in run("sync", terminal=80)
    path = file("email\n" + "".join(f"ann{number}@example.com\n" for number in range(SLICE + 5)))
    assert f"{SLICE} lines\r" in run("import", path, "--reason", "bounced", terminal=80)
