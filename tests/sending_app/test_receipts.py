"""What came of an attempt is written on that attempt alone, and never against the evidence."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from events_app.models import database_now
from sending_app import claims, conf, receipts
from sending_app.claims import Taken
from sending_app.client import Outcome, Verdict
from sending_app.models import FINAL, Part, Recipient
from tests.sending_app.events import FIRST, SECOND, come, raw, recipients
from tests.sending_app.mails import kept, mail, part
from tests.sending_app.posting import accepted, came_to, take
from tests.sending_app.told import told

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Part.State

NOT_ACCEPTED = [one for one in Verdict if one is not Verdict.ACCEPTED]


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


def row() -> dict[str, Any]:
    """All that the database has of the only part, and of its recipients."""
    return {
        "part": Part.objects.values().get(),
        "recipients": list(Recipient.objects.order_by("pk").values()),
    }


def again(state: Part.State = State.WAITING, **changes: Any) -> None:
    """Nobody heard of the attempt, and something else came of the part meanwhile."""
    Part.objects.update(state=state, due=part().created_at, **changes)


# The verdicts


def test_accepted(database: str) -> None:
    kept()
    taken = take()
    before = database_now(database)
    receipts.file(taken.part, accepted())
    found = part()
    assert (found.state, found.x_message_id, found.sent_twice, found.error) == ("accepted", FIRST, False, "")
    assert found.accepted_at is not None
    assert before <= found.accepted_at <= database_now(database)
    assert found.finished_at == found.accepted_at
    assert (found.seen_at, found.log) == (None, [])
    assert [one.status for one in recipients()] == ["queued"]


def test_accepted_without_an_id(database: str) -> None:
    kept()
    receipts.file(take().part, accepted(""))
    assert (part().state, part().x_message_id) == ("accepted", "")


def test_failed(database: str) -> None:
    kept(mail("ann@example.com", "bob@example.com"))
    receipts.file(take().part, came_to(Verdict.FAILED))
    found = part()
    assert (found.state, found.error) == ("failed", "SendGrid's own words")
    assert found.finished_at is not None
    assert found.accepted_at is None
    assert [entry["what"] for entry in found.log] == ["SendGrid's own words"]
    assert [one.status for one in recipients()] == ["failed", "failed"]


def test_paused_is_due_at_once(database: str) -> None:
    kept()
    receipts.file(take().part, came_to(Verdict.PAUSED))
    found = part()
    assert (found.state, found.error, found.finished_at) == ("waiting", "SendGrid's own words", None)
    assert found.due <= database_now(database)


def test_each_retry_comes_later_than_the_one_before_up_to_a_bound(database: str) -> None:
    kept()
    waits = []
    for _ in range(10):
        taken = take()
        before = database_now(database)
        receipts.file(taken.part, came_to(Verdict.RETRY))
        waits.append((part().due - before).total_seconds())
        Part.objects.update(due=part().created_at)
    asked = [min(receipts.FIRST_DELAY * 2**number, receipts.LONGEST_DELAY) for number in range(10)]
    assert all(0.75 * most <= wait <= 1.25 * most + 5 for wait, most in zip(waits, asked, strict=True))
    assert (part().state, part().unknowns, len(part().log)) == ("waiting", 0, 10)


def test_unknown_is_due_when_its_events_have_had_their_time(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SEND_UNKNOWN_WAIT=900)
    kept()
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    found = part()
    assert (found.state, found.unknowns, found.finished_at) == ("unknown", 1, None)
    assert found.attempted_at is not None
    assert found.unknown_since is not None
    assert found.attempted_at <= found.unknown_since
    assert found.due == found.unknown_since + timedelta(seconds=900)


def test_a_mail_for_later_has_its_events_later(database: str) -> None:
    kept()
    send_at = part().created_at + timedelta(hours=30)
    Part.objects.update(send_at=send_at)
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    assert part().due == send_at + timedelta(seconds=conf.UNKNOWN_WAIT.get())


@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
def test_words_are_kept_as_a_database_takes_them(database: str, verdict: Verdict) -> None:
    kept()
    receipts.file(take().part, came_to(verdict, "no\0 such \ud800 thing" + "!" * 5000))
    assert part().error.startswith("no such \ufffd thing!")
    assert len(part().error) == receipts.MOST_WORDS
    assert part().log[0]["what"] == part().error


def test_the_log_keeps_its_last_entries(database: str) -> None:
    kept()
    for number in range(receipts.MOST_LOG + 3):
        receipts.file(take().part, came_to(Verdict.PAUSED, str(number)))
    assert [entry["what"] for entry in part().log] == [str(n) for n in range(3, receipts.MOST_LOG + 3)]


# An attempt that is not the last one any more


@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
@pytest.mark.parametrize("state", State)
def test_what_else_came_of_an_older_attempt_changes_nothing(
    database: str, verdict: Verdict, state: Part.State
) -> None:
    kept()
    older = take()
    again()
    take()
    again(state)
    before = row()
    with told() as heard:
        receipts.file(older.part, came_to(verdict))
    assert row() == before
    assert heard.calls == []


@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
@pytest.mark.parametrize("state", [one for one in State if one is not State.POSTING])
def test_nor_does_what_came_of_one_that_has_been_settled(
    database: str, verdict: Verdict, state: Part.State
) -> None:
    kept()
    taken = take()
    again(state)
    before = row()
    receipts.file(taken.part, came_to(verdict))
    assert row() == before


# A 202 that comes late


@pytest.mark.parametrize("state", [one for one in State if one not in (State.POSTING, State.ACCEPTED)])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_late_202_moves_the_part_from_wherever_it_is(
    database: str, state: Part.State, attempts: int
) -> None:
    kept()
    taken = take()
    for _ in range(attempts - 1):
        again()
        take()
    again(state, error="who knows")
    Recipient.objects.update(status="failed", rank=1)
    with told() as heard:
        receipts.file(taken.part, accepted())
        receipts.file(taken.part, accepted())
    assert (part().state, part().error, part().sent_twice) == ("accepted", "", False)
    assert heard.signals == ["post_send"]
    assert [one.status for one in recipients()] == ["queued"]


@pytest.mark.parametrize("x_message_id", [FIRST, ""])
@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
def test_a_202_of_an_older_attempt_counts_when_the_one_on_its_way_fails(
    database: str, verdict: Verdict, x_message_id: str
) -> None:
    kept()
    older = take()
    again()
    newer = take()
    with told() as heard:
        receipts.file(older.part, accepted(x_message_id))
        assert (part().state, part().attempt) == ("posting", newer.part.attempt)
        assert heard.calls == []
        receipts.file(newer.part, came_to(verdict))
    assert (part().state, part().error, part().sent_twice) == ("accepted", "", False)
    assert heard.signals == ["post_send"]
    assert claims.take(Part.Lane.MAIL) is None


@pytest.mark.parametrize(("second", "twice"), [(SECOND, True), (FIRST, False), ("", False)])
def test_a_202_of_an_older_attempt_and_then_one_of_the_newer(
    database: str, caplog: pytest.LogCaptureFixture, second: str, twice: bool
) -> None:
    kept()
    older = take()
    again()
    newer = take()
    with told() as heard:
        receipts.file(older.part, accepted(FIRST))
        receipts.file(newer.part, accepted(second))
    found = part()
    assert (found.state, found.x_message_id, found.sent_twice) == ("accepted", FIRST, twice)
    assert heard.signals == ["post_send"]
    assert caplog.messages == [f"SendGrid has accepted part {found.pk} twice"] * twice


@pytest.mark.parametrize(("first", "twice"), [(SECOND, True), (FIRST, False), ("", False)])
def test_a_202_of_an_older_attempt_after_the_newer_was_accepted(
    database: str, caplog: pytest.LogCaptureFixture, first: str, twice: bool
) -> None:
    kept()
    older = take()
    again()
    with told() as heard:
        receipts.file(take().part, accepted(FIRST))
        receipts.file(older.part, accepted(first))
    assert (part().state, part().x_message_id, part().sent_twice) == ("accepted", FIRST, twice)
    assert heard.signals == ["post_send"]
    assert caplog.messages == [f"SendGrid has accepted part {part().pk} twice"] * twice


def test_a_202_of_a_part_that_is_gone_is_nobodys(database: str) -> None:
    kept()
    taken = take()
    Part.objects.all().delete()
    with told() as heard:
        receipts.file(taken.part, accepted())
    assert heard.calls == []


# Evidence


@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
def test_an_event_beats_every_other_verdict(database: str, verdict: Verdict) -> None:
    kept()
    taken = take()
    come(raw("delivered", recipients()[0]))
    with told() as heard:
        receipts.file(taken.part, came_to(verdict))
        receipts.file(taken.part, came_to(verdict))
    found = part()
    assert (found.state, found.error, found.log, found.unknowns) == ("accepted", "", [], 0)
    assert found.finished_at is not None
    assert [one.status for one in recipients()] == ["delivered"]
    assert heard.signals == ["post_send"]


def test_an_event_and_the_answer_to_it_are_one_request(database: str) -> None:
    kept()
    taken = take()
    come(raw("processed", recipients()[0]))
    with told() as heard:
        receipts.file(taken.part, accepted(FIRST))
    assert (part().state, part().sent_twice) == ("accepted", False)
    assert heard.signals == ["post_send"]


def test_an_event_of_the_first_attempt_and_an_answer_to_the_second(database: str) -> None:
    kept()
    take()
    again()
    second = take()
    come(raw("processed", recipients()[0]))
    receipts.file(second.part, accepted(SECOND))
    assert (part().state, part().x_message_id, part().sent_twice) == ("accepted", FIRST, True)


def test_what_a_worker_saves_lowers_nothing_that_an_event_has_set(database: str) -> None:
    kept()
    taken = take()
    come(raw("delivered", recipients()[0]), raw("open", recipients()[0]))
    before = row()["recipients"]
    receipts.file(taken.part, accepted())
    assert row()["recipients"] == before


@pytest.mark.parametrize("outcome", [accepted(), *(came_to(one) for one in NOT_ACCEPTED)])
def test_a_final_state_has_its_moment_and_no_other_has(database: str, outcome: Outcome) -> None:
    kept()
    taken: Taken = take()
    receipts.file(taken.part, outcome)
    assert (part().finished_at is not None) == (part().state in FINAL)
