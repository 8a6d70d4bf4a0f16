"""What no worker will finish is decided: accepted, sent again, given up, or left to a person."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from events_app import redis, stream
from events_app.models import database_now
from sending_app import claims, conf, receipts, settlement
from sending_app.client import Verdict
from sending_app.models import OutboxMessage, Part, Recipient
from tests.sending_app.events import come, raw, recipients
from tests.sending_app.mails import kept, mail, part, parts
from tests.sending_app.posting import accepted, came_to, take
from tests.sending_app.told import told

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Part.State

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


def let_pass(time: timedelta) -> None:
    """As if all rows were as they are that much earlier."""
    moments = ("created_at", "send_at", "due", "attempted_at", "accepted_at", "seen_at", "finished_at")
    for one in parts():
        earlier = {name: getattr(one, name) - time for name in moments if getattr(one, name)}
        Part.objects.filter(pk=one.pk).update(**earlier)


def settle() -> dict[str, int]:
    return dict(settlement.settle())


def unknown(**changes: Any) -> Part:
    """A part whose fate nobody knows, an hour ago."""
    kept()
    pk = take().part.pk
    Part.objects.filter(pk=pk).update(**changes)
    receipts.file(Part.objects.select_related("message").get(pk=pk), came_to(Verdict.UNKNOWN))
    let_pass(HOUR)
    return Part.objects.get(pk=pk)


def later_mail(seen: bool = True) -> Part:
    """One that is sent now, and heard of."""
    kept(mail("later@example.com"))
    taken = take()
    receipts.file(taken.part, accepted())
    if seen:
        come(*(raw("processed", one) for one in recipients(taken.part)))
    return taken.part


def ours(one: Part) -> Part:
    one.refresh_from_db()
    return one


# A worker that is gone


def test_a_part_whose_worker_is_gone_is_unknown(database: str) -> None:
    kept()
    taken = take()
    assert (settle(), settlement.anything_due()) == ({}, False)
    Part.objects.update(due=part().created_at)
    assert settlement.anything_due()
    assert settle() == {"unknown": 1}
    found = part()
    assert (found.state, found.unknowns, found.attempt) == ("unknown", 1, taken.part.attempt)
    assert found.error == "Its worker died over it, or was cut off."
    assert [entry["what"] for entry in found.log] == [found.error]
    assert found.attempted_at is not None
    assert found.due == found.attempted_at + timedelta(seconds=conf.UNKNOWN_WAIT.get())
    assert (settle(), settlement.anything_due()) == ({}, False)


def test_where_an_event_has_come_it_is_accepted(database: str) -> None:
    kept()
    take()
    come(raw("processed", recipients()[0]))
    Part.objects.update(due=part().created_at)
    with told() as heard:
        assert settle() == {"settled otherwise": 1}
    assert (part().state, part().unknowns, heard.signals) == ("accepted", 0, ["post_send"])


def test_its_own_late_answer_still_counts(database: str) -> None:
    kept()
    taken = take()
    Part.objects.update(due=part().created_at)
    settle()
    receipts.file(taken.part, accepted())
    assert part().state == "accepted"


# Sent again


def test_it_is_sent_again_where_all_shows_that_sendgrid_does_not_have_it(database: str) -> None:
    lost = unknown()
    later_mail()
    assert settlement.anything_due()
    assert settle() == {"waiting": 1}
    found = ours(lost)
    assert (found.state, found.attempts, found.unknowns) == ("waiting", 1, 1)
    assert found.due <= database_now(database)
    assert found.log[-1]["what"].endswith("It is sent again.")
    assert claims.anything_due(Part.Lane.MAIL)
    take()
    assert (ours(lost).state, ours(lost).attempts) == ("posting", 2)


def not_yet(lost: Part, database: str) -> str:
    """It is not decided, and will be looked at again; answer why."""
    before = database_now(database)
    assert settle() == {"unknown": 1}
    found = ours(lost)
    assert (found.state, found.unknowns) == ("unknown", 1)
    assert found.due >= before + timedelta(seconds=settlement.LOOK_AGAIN)
    assert (settle(), settlement.anything_due()) == ({}, False)
    return found.error


def test_not_before_its_events_have_had_their_time(database: str) -> None:
    kept()
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    later_mail()
    let_pass(timedelta(seconds=conf.UNKNOWN_WAIT.get() - 5))
    assert (settle(), settlement.anything_due()) == ({}, False)
    let_pass(timedelta(seconds=5))
    assert settle() == {"waiting": 1}


NO_LATER_MAIL = "No event has come of any mail that was accepted later."


def test_not_where_no_later_mail_was_accepted(database: str) -> None:
    assert not_yet(unknown(), database) == NO_LATER_MAIL


def test_not_where_no_event_came_of_the_later_mail(database: str) -> None:
    lost = unknown()
    later_mail(seen=False)
    assert not_yet(lost, database) == NO_LATER_MAIL


def test_not_where_it_left_by_another_account(database: str, anymail: Callable[..., None]) -> None:
    lost = unknown()
    anymail(SENDGRID_API_KEY="SG.another")
    later_mail()
    assert not_yet(lost, database) == NO_LATER_MAIL


def test_not_where_the_mail_that_was_heard_of_is_older(database: str) -> None:
    later_mail()
    let_pass(HOUR)
    assert not_yet(unknown(), database) == NO_LATER_MAIL


def test_not_where_an_older_mail_was_only_heard_of_later(database: str) -> None:
    kept(mail("earlier@example.com"))
    receipts.file(take().part, accepted())
    let_pass(timedelta(seconds=30))
    earlier, *_ = recipients()
    lost = unknown()
    come(raw("processed", earlier))
    Part.objects.filter(seen_at__isnull=False).update(accepted_at=database_now(database))
    assert not_yet(lost, database) == NO_LATER_MAIL


def put_into_the_stream(at: datetime) -> None:
    """A raw event that waits since then."""
    entry = f"{int(at.timestamp() * 1000)}-0"
    redis.worker().xadd(redis.key(), {"d": "tracking", "r": json.dumps({"event": "open"})}, id=entry)


def test_not_while_events_wait_to_be_stored(database: str) -> None:
    lost = unknown()
    later_mail()
    put_into_the_stream(database_now(database) - timedelta(seconds=settlement.MOST_BACKLOG + 5))
    assert not_yet(lost, database) == "Events wait to be stored; its own may be among them."


def test_not_while_an_event_waits_that_came_before_it(database: str, anymail: Callable[..., None]) -> None:
    anymail(SEND_UNKNOWN_WAIT=1)
    kept()
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    lost = part()
    later_mail()
    let_pass(timedelta(seconds=5))
    put_into_the_stream(database_now(database) - timedelta(seconds=20))
    assert not_yet(lost, database) == "Events wait to be stored; its own may be among them."


def test_an_event_that_has_just_come_is_no_backlog(database: str) -> None:
    lost = unknown()
    later_mail()
    stream.append("tracking", [b"{}"])
    assert settle() == {"waiting": 1}
    assert ours(lost).state == "waiting"


def test_not_where_redis_cannot_be_asked(database: str, anymail: Callable[..., None]) -> None:
    lost = unknown()
    later_mail()
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert not_yet(lost, database) == "Whether events wait cannot be seen: ConnectionError."


def test_a_scheduled_mail_has_its_events_after_its_time(database: str) -> None:
    kept()
    send_at = database_now(database) + 30 * HOUR
    Part.objects.update(send_at=send_at)
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    lost = part()
    let_pass(29 * HOUR)
    later_mail()
    assert settle() == {}
    let_pass(HOUR + timedelta(seconds=conf.UNKNOWN_WAIT.get()))
    # Those that were accepted before its time tell nothing of what came after.
    assert not_yet(lost, database) == NO_LATER_MAIL
    let_pass(HOUR)
    later_mail()
    assert settle() == {"waiting": 1}
    assert settle() == {}


# To a person


def test_it_is_parked_where_no_event_could_tell(database: str) -> None:
    kept(mail(tracked=False))
    receipts.file(take().part, came_to(Verdict.UNKNOWN))
    let_pass(HOUR)
    later_mail()
    with told() as heard:
        assert settle() == {"parked": 1}
    found = parts()[0]
    assert (found.state, found.finished_at) == ("parked", None)
    assert "SENDGRID_GENERATE_MESSAGE_ID is off" in found.error
    assert found.log[-1]["what"] == found.error
    assert (heard.calls, settle()) == ([], {})


def test_it_is_parked_when_it_was_unknown_too_often(database: str) -> None:
    lost = unknown(unknowns=settlement.MOST_UNKNOWNS - 1)
    later_mail()
    assert settle() == {"parked": 1}
    assert "3 times" in ours(lost).error


def test_it_is_parked_when_it_is_too_old(database: str, caplog: pytest.LogCaptureFixture) -> None:
    lost = unknown()
    later_mail()
    let_pass(timedelta(seconds=conf.MAX_AGE.get()))
    assert settle() == {"parked": 1}
    assert ours(lost).error == "Nothing has shown in time whether SendGrid has it."
    assert f"Part {lost.pk} is parked: whether SendGrid has it nobody can tell" in caplog.messages


def test_an_event_takes_it_back_from_there(database: str) -> None:
    lost = unknown(unknowns=settlement.MOST_UNKNOWNS)
    assert settle() == {"parked": 1}
    come(raw("delivered", recipients()[0]))
    assert ours(lost).state == "accepted"


# Evidence


def test_what_there_is_evidence_of_is_never_sent_again(database: str) -> None:
    lost = unknown()
    later_mail()
    Part.objects.filter(pk=lost.pk).update(accepted_at=lost.created_at, x_message_id="A")
    with told() as heard:
        assert settle() == {"settled otherwise": 1}
    assert (ours(lost).state, heard.signals) == ("accepted", ["post_send"])


@pytest.mark.parametrize("step", [settlement._lose, settlement._decide, settlement._expire])
@pytest.mark.parametrize("meanwhile", [{"attempt": 18}, {"state": "accepted"}])
def test_what_has_changed_since_it_was_read_is_left_alone(
    database: str, step: Callable[[Part], str], meanwhile: dict[str, Any]
) -> None:
    lost = unknown()
    later_mail()
    Part.objects.filter(pk=lost.pk).update(**meanwhile)
    before = Part.objects.values().get(pk=lost.pk)
    assert step(lost) == "settled otherwise"
    assert Part.objects.values().get(pk=lost.pk) == before


# Given up


def test_what_waits_too_long_is_given_up(database: str) -> None:
    kept()
    Part.objects.update(error="SendGrid asked for patience.", due=database_now(database) + HOUR)
    let_pass(timedelta(seconds=conf.MAX_AGE.get() - 60))
    assert settle() == {}
    let_pass(timedelta(seconds=60))
    with told() as heard:
        assert settle() == {"failed": 1}
    found = part()
    assert (found.state, [one.status for one in recipients()]) == ("failed", ["failed"])
    assert found.error == "Given up after 1 day, 0:00:00: SendGrid asked for patience."
    assert found.log[-1]["what"] == found.error
    assert heard.signals == ["send_failed"]
    assert heard.calls[0][1]["error"] == found.error
    assert settle() == {}


def test_what_nobody_ever_took_is_given_up_too(database: str) -> None:
    kept(alias="gone")
    let_pass(timedelta(days=2))
    assert settle() == {"failed": 1}
    assert part().error.endswith("no worker came to it.")


def test_a_mail_for_later_is_as_old_as_its_time(database: str) -> None:
    kept()
    Part.objects.update(send_at=database_now(database) + 20 * HOUR)
    let_pass(30 * HOUR)
    assert settle() == {}
    let_pass(15 * HOUR)
    assert settle() == {"failed": 1}


def test_what_there_is_evidence_of_is_not_given_up(database: str) -> None:
    kept()
    Part.objects.update(accepted_at=part().created_at)
    let_pass(timedelta(days=2))
    with told() as heard:
        assert settle() == {"settled otherwise": 1}
    assert (part().state, heard.signals) == ("accepted", ["post_send"])
    assert [one.status for one in recipients()] == ["queued"]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.FAILED, State.PARKED, State.CANCELLED])
def test_what_is_settled_stays(database: str, state: Part.State) -> None:
    kept()
    Part.objects.update(state=state)
    let_pass(timedelta(days=5))
    before = Part.objects.values().get()
    assert settle() == {}
    assert Part.objects.values().get() == before


# Many


def test_each_of_many_is_decided_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "SLICE", 2)
    lost = [unknown() for _ in range(5)]
    assert settle() == {"unknown": 5}
    later_mail()
    let_pass(timedelta(seconds=settlement.LOOK_AGAIN))
    later_mail()
    assert settle() == {"waiting": 5}
    assert {ours(one).state for one in lost} == {"waiting"}


def test_one_that_cannot_be_read_is_in_the_way_of_no_other(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    poison, other = unknown(), unknown()
    OutboxMessage.objects.filter(pk=poison.message_id).update(content=b"{")
    later_mail()
    assert settle() == {"undecidable": 1, "waiting": 1}
    assert (ours(poison).state, ours(other).state) == ("unknown", "waiting")
    assert f"Nothing can be decided on part {poison.pk}" in caplog.messages
    assert (settle(), settlement.anything_due()) == ({}, False)


def test_a_database_that_goes_away_is_the_callers(database: str) -> None:
    unknown()

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute), pytest.raises(OperationalError):
        settle()
    assert not Recipient.objects.exclude(status="queued").exists()
