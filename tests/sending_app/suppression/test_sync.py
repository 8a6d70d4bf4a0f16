"""The suppressions here and SendGrid's lists: each side gets what it lacks, as far as it is asked to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.shared.personal_data.pseudonyms import pseudonym
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid
from sending_app import account
from sending_app.api.suppression_lists import PAGE, ListsFailed, SuppressionLists
from sending_app.models import Suppression
from sending_app.suppression.manual import remove, suppress
from sending_app.suppression.record import Word, record_words
from sending_app.suppression.sync import PartReport, Sync
from tests.support.examples import examples

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

Reason, Source = Suppression.Reason, Suppression.Source

OLD = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = int(OLD.timestamp())


def lists_of(alias: str) -> SuppressionLists:
    return SuppressionLists(account.named(alias), say=lambda _: None, pause=lambda _: None)


def run(
    database: str,
    *,
    push: bool = False,
    pull_removals: bool = False,
    apply: bool = True,
    alias: str = "default",
) -> dict[str, PartReport]:
    """Run the comparison, and return the reports by the name of the list."""
    sync = Sync(
        lists=lists_of(alias),
        database=database,
        apply=apply,
        push=push,
        pull_removals=pull_removals,
        every=[lists_of(known.alias) for known in account.usable()],
    )
    return {report.name: report for report in sync.run()}


def word(database: str, address: str, **columns: Any) -> None:
    columns = {"reason": Reason.UNSUBSCRIBED, "source": Source.IMPORT, "at": OLD, **columns}
    record_words([Word(address=address, **columns)], database)


def rows() -> set[tuple[str, str, str, bool]]:
    return set(Suppression.objects.values_list("address", "scope", "reason", "active"))


def writes(sendgrid: FakeSendGrid) -> list[str]:
    return [f"{call.method} {call.path}" for call in sendgrid.suppression_api.calls if call.method != "GET"]


def test_sendgrids_lists_are_recorded_with_their_times(database: str, sendgrid: FakeSendGrid) -> None:
    for name in ("bounces", "spam_reports", "invalid_emails", "unsubscribes", "blocks", "group:7"):
        sendgrid.suppressions.add(name, f"{name.rstrip(':7')}@Example.com", CREATED)
    reports = run(database)
    assert rows() == {
        ("bounces@example.com", "", "bounced", True),
        ("spam_reports@example.com", "", "spam", True),
        ("invalid_emails@example.com", "", "invalid", True),
        ("unsubscribes@example.com", "", "unsubscribed", True),
        ("group@example.com", "group:7", "unsubscribed", True),
    }
    assert set(Suppression.objects.values_list("since", "source")) == {(OLD, "sendgrid")}
    assert {report.begun for report in reports.values()} == {1}
    assert writes(sendgrid) == []


def test_a_dry_run_counts_the_same_and_changes_nothing(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED)
    sendgrid.suppressions.add("unsubscribes", "ended@example.com", CREATED)
    word(database, "ended@example.com", active=False, at=OLD + timedelta(1), source=Source.OPERATOR)
    word(database, "missing@example.com")
    word(database, "vanished@example.com", source=Source.SENDGRID)
    before = rows()
    planned = run(database, push=True, pull_removals=True, apply=False)
    assert rows() == before
    assert writes(sendgrid) == []
    done = run(database, push=True, pull_removals=True)
    assert done["global unsubscribes"].ended == 1
    done["global unsubscribes"].ended = 0
    assert planned == done


def test_a_second_run_finds_nothing_to_do(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED)
    sendgrid.suppressions.add("group:7", "bob@example.com", CREATED)
    word(database, "cid@example.com")
    run(database, push=True)
    before, written = rows(), writes(sendgrid)
    reports = run(database, push=True)
    assert (rows(), writes(sendgrid)) == (before, written)
    counts = [(report.begun, report.ended_here, report.missing_there) for report in reports.values()]
    assert set(counts) == {(0, 0, 0)}


def test_a_known_suppression_keeps_its_event(database: str, sendgrid: FakeSendGrid) -> None:
    word(database, "ann@example.com", reason=Reason.BOUNCED, source=Source.EVENT, event_id="e1")
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED + 5)
    assert run(database)["bounces"].begun == 0
    assert Suppression.objects.get().event_id == "e1"


def test_a_suppression_that_an_operator_ended_is_removed_there_only_with_push(
    database: str, sendgrid: FakeSendGrid
) -> None:
    names = {"bounces": Reason.BOUNCED, "spam_reports": Reason.SPAM, "unsubscribes": Reason.UNSUBSCRIBED}
    for name, reason in names.items():
        sendgrid.suppressions.add(name, "Ann+x@example.com", CREATED)
        word(database, "ann+x@example.com", reason=reason, source=Source.EVENT)
    sendgrid.suppressions.add("group:7", "Ann+x@example.com", CREATED)
    word(database, "ann+x@example.com", scope="group:7")
    remove(list(Suppression.objects.values_list("pk", flat=True)))
    assert {report.ended_here for report in run(database).values()} == {0, 1}
    assert writes(sendgrid) == []
    run(database, push=True)
    assert [sendgrid.suppressions.emails(name) for name in (*names, "group:7")] == [[], [], [], []]
    assert {active for *_, active in rows()} == {False}


def test_what_sendgrid_listed_after_the_end_here_begins_again(database: str, sendgrid: FakeSendGrid) -> None:
    word(database, "ann@example.com", active=False, source=Source.OPERATOR)
    sendgrid.suppressions.add("unsubscribes", "ann@example.com", CREATED + 60)
    report = run(database, push=True)["global unsubscribes"]
    assert (report.begun, report.ended_here) == (1, 0)
    assert rows() == {("ann@example.com", "", "unsubscribed", True)}
    assert writes(sendgrid) == []


def test_an_end_by_a_resubscription_removes_nothing_there(database: str, sendgrid: FakeSendGrid) -> None:
    word(database, "ann@example.com", active=False, at=OLD + timedelta(1), source=Source.EVENT)
    sendgrid.suppressions.add("unsubscribes", "ann@example.com", CREATED)
    assert run(database, push=True)["global unsubscribes"].ended_here == 0
    assert writes(sendgrid) == []


def test_missing_unsubscribes_are_added_there_only_with_push(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("group:7", "eve@example.com", CREATED)
    word(database, "ann@example.com", source=Source.EVENT)  # of our unsubscribe page
    word(database, "bob@example.com", scope="group:7")
    word(database, "cid@example.com", reason=Reason.BOUNCED)
    reports = run(database)
    assert reports["global unsubscribes"].missing_there == reports["unsubscribe groups"].missing_there == 1
    assert reports["bounces"].not_addable == 1
    assert writes(sendgrid) == []
    run(database, push=True)
    assert sendgrid.suppressions.emails("unsubscribes") == ["ann@example.com"]
    assert "bob@example.com" in sendgrid.suppressions.emails("group:7")
    assert sendgrid.suppressions.emails("bounces") == []


def test_what_sendgrid_has_no_list_for_stays_here(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    word(database, "ann@example.com", scope="news")
    word(database, "ann@example.com", scope="group:8")  # of another account, perhaps
    word(database, "ann@example.com", reason=Reason.BLOCKED)
    word(database, "bob@example.com", until=datetime(2099, 1, 1, tzinfo=UTC))
    word(database, pseudonym("eve@example.com"))
    run(database, push=True)
    assert writes(sendgrid) == []
    sync = Sync(
        lists=lists_of("default"), database=database, apply=True, push=True, pull_removals=False, every=()
    )
    assert sync.count_without_list() == 4


def test_an_erased_person_is_not_recorded_again(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    word(database, pseudonym("ann@example.com"), reason=Reason.BOUNCED)
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED)
    sendgrid.suppressions.add("unsubscribes", "ann@example.com", CREATED)
    run(database)
    assert {address for address, *_ in rows()} == {pseudonym("ann@example.com")}


def test_a_young_suppression_may_not_yet_be_on_the_list(database: str, sendgrid: FakeSendGrid) -> None:
    suppress(["ann@example.com"], Reason.UNSUBSCRIBED)
    report = run(database, push=True, pull_removals=True)["global unsubscribes"]
    assert (report.missing_there, report.vanished) == (0, 0)


def test_what_vanished_there_is_reported_and_ended_only_if_asked(
    database: str, sendgrid: FakeSendGrid
) -> None:
    word(database, "ann@example.com", source=Source.SENDGRID)
    word(database, "bob@example.com", reason=Reason.BOUNCED, source=Source.EVENT)
    word(database, "cid@example.com", reason=Reason.BOUNCED)
    sendgrid.suppressions.add("group:7", "eve@example.com", CREATED)
    word(database, "dan@example.com", scope="group:7", source=Source.SENDGRID)
    reports = run(database, push=True)
    assert reports["bounces"].vanished_addresses == ["bob@example.com"]
    assert reports["unsubscribe groups"].vanished_addresses == ["dan@example.com"]
    assert reports["global unsubscribes"].vanished == 1
    assert all(active for *_, active in rows())
    run(database, pull_removals=True)
    assert {address for address, *_, active in rows() if active} == {"cid@example.com", "eve@example.com"}
    assert writes(sendgrid) == []


def test_an_address_on_a_list_of_another_account_has_not_vanished(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    with FakeSendGrid(keys=None) as other:
        anymail(SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news", "api_url": other.url}})
        other.suppressions.add("bounces", "ann@example.com", CREATED)
        run(database, alias="news")
        sendgrid.suppressions.add("group:9", "bob@example.com", CREATED)
        run(database)
        assert run(database, pull_removals=True)["bounces"].vanished == 1
        assert run(database, pull_removals=True, alias="news")["unsubscribe groups"].vanished == 0
        assert all(active for *_, active in rows())
        other.suppressions.clear()
        assert run(database, pull_removals=True)["bounces"].ended == 1


def test_a_bounce_that_events_call_spam_has_not_vanished(database: str, sendgrid: FakeSendGrid) -> None:
    word(database, "ann@example.com", reason=Reason.SPAM, source=Source.EVENT)
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED)
    assert run(database, pull_removals=True)["spam reports"].ended == 0


def test_a_run_that_broke_off_is_run_again(database: str, sendgrid: FakeSendGrid) -> None:
    for number in range(2 * PAGE + 1):
        sendgrid.suppressions.add("bounces", f"ann{number}@example.com", CREATED)
    word(database, "missing@example.com")
    for number in (3, 4, 5):  # the third page, and its tries
        sendgrid.suppression_api.plan(number, responses.server_error(503))
    with pytest.raises(ListsFailed, match="Run the same command again"):
        run(database, push=True)
    assert len(rows()) == 2 * PAGE + 1
    assert run(database, push=True)["bounces"].begun == 1
    assert len(rows()) == 2 * PAGE + 2
    assert sendgrid.suppressions.emails("unsubscribes") == ["missing@example.com"]


def test_a_rate_limit_in_the_middle_loses_nothing(database: str, sendgrid: FakeSendGrid) -> None:
    for number in range(2 * PAGE + 1):
        sendgrid.suppressions.add("bounces", f"ann{number}@example.com", CREATED)
    for number in range(300):
        word(database, f"bob{number}@example.com")
    for number in (2, 8, 9, 11):
        sendgrid.suppression_api.plan(number, responses.rate_limited(30))
    reports = run(database, push=True)
    assert reports["bounces"].begun == 2 * PAGE + 1
    assert len(sendgrid.suppressions.emails("unsubscribes")) == 300
    assert [call.status for call in sendgrid.suppression_api.calls].count(429) == 4


def test_an_address_that_sendgrid_refuses_does_not_hold_up_the_others(
    database: str, sendgrid: FakeSendGrid
) -> None:
    for address in ("ann@example.com", "nobody", "bob@example.com"):
        word(database, address)
    report = run(database, push=True)["global unsubscribes"]
    assert (report.missing_there, report.refused) == (3, 1)
    assert sorted(sendgrid.suppressions.emails("unsubscribes")) == ["ann@example.com", "bob@example.com"]


def test_addresses_that_no_mailbox_can_have_are_recorded_as_they_are(
    database: str, sendgrid: FakeSendGrid
) -> None:
    sendgrid.suppressions.add("invalid_emails", "No One", CREATED)
    sendgrid.suppressions.add("invalid_emails", "x" * 500, CREATED)
    sendgrid.suppressions.add("invalid_emails", "\x1b[2J\0", CREATED)
    run(database)
    assert {address for address, *_ in rows()} == {"no one", "x" * 320, "\\x1b[2j"}
    assert run(database, push=True, pull_removals=True)["invalid emails"].vanished == 0


PEOPLE = st.sampled_from(["ann@example.com", "bob@example.com", "cid@example.com"])
#: Days after OLD.
DAYS = st.integers(0, 3)
HERE = st.lists(
    st.tuples(
        PEOPLE,
        st.sampled_from(["", "group:7", "news"]),
        st.sampled_from(Reason),
        st.sampled_from(Source),
        st.booleans(),
        DAYS,
    ),
    max_size=12,
)
THERE = st.lists(
    st.tuples(PEOPLE, st.sampled_from(["bounces", "spam_reports", "unsubscribes", "group:7"]), DAYS),
    max_size=8,
)


@given(here=HERE, there=THERE)
@hypothesis_settings(max_examples=examples(30), suppress_health_check=list(HealthCheck))
def test_after_a_sync_with_push_both_sides_agree(
    database: str, sendgrid: FakeSendGrid, here: list[Any], there: list[Any]
) -> None:
    Suppression.objects.all().delete()
    sendgrid.suppressions.clear()
    sendgrid.suppressions.add("group:7", "eve@example.com", CREATED)
    for address, name, day in there:
        sendgrid.suppressions.add(name, address, CREATED + 86400 * day)
    for address, scope, reason, source, active, day in here:
        columns = {"scope": scope, "reason": reason, "source": source, "active": active}
        word(database, address, at=OLD + timedelta(day), **columns)
    run(database, push=True)
    state = rows()
    again = run(database, push=True)
    assert rows() == state
    assert {(report.begun, report.ended_here) for report in again.values()} == {(0, 0)}
    held = {
        (address, scope) for address, scope, reason, active in state if active and reason == "unsubscribed"
    }
    for address, scope in held:
        listed = sendgrid.suppressions.emails(scope or "unsubscribes") if scope != "news" else [address]
        kept = Suppression.objects.filter(address=address, scope=scope, source=Source.SENDGRID)
        assert address in listed or kept.exists()
