"""Events that are stored show that SendGrid has a part, and move its recipients; or none of that is kept."""

import logging
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import inbox, signals
from events_app.claims import Claim
from events_app.models import DatabaseAway, Event
from sending_app import evidence, outbox
from sending_app.models import Part, Recipient
from tests.events_app.test_inbox import entries
from tests.sending_app.events import FIRST, SECOND, come, event, raw, recipients
from tests.sending_app.mails import kept, mail, part, parts
from tests.sending_app.told import told

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Part.State


def be(state: Part.State, **changes: object) -> Part:
    """The only part there is, in this state."""
    Part.objects.update(state=state, **changes)
    return part()


def take_in(*events: Any) -> None:
    with transaction.atomic(using=outbox.using()):
        evidence.take_in(events, [datetime.now(UTC)] * len(events))


@pytest.mark.parametrize("state", [one for one in State if one is not State.POSTING])
def test_an_event_shows_that_sendgrid_has_the_part_whatever_we_thought(
    database: str, state: Part.State
) -> None:
    kept()
    be(state, error="who knows")
    come(raw("processed", recipients()[0]))
    found = part()
    assert (found.state, found.error, found.x_message_id, found.sent_twice) == ("accepted", "", FIRST, False)
    assert found.seen_at is not None
    assert found.seen_at == found.accepted_at
    assert found.finished_at is not None


def test_a_part_that_is_being_posted_stays_its_workers(database: str) -> None:
    kept()
    be(State.POSTING, attempt=17)
    come(raw("processed", recipients()[0]))
    found = part()
    assert (found.state, found.x_message_id, found.attempt) == ("posting", FIRST, 17)
    assert found.accepted_at is not None


def test_the_first_moments_stand(database: str) -> None:
    kept()
    come(raw("processed", recipients()[0]))
    first = part()
    Part.objects.update(accepted_at=first.created_at, finished_at=first.created_at)
    come(raw("delivered", recipients()[0]))
    found = part()
    assert (found.seen_at, found.accepted_at) == (first.seen_at, first.created_at)
    assert found.finished_at == first.created_at


def test_of_one_recipient_of_many_the_whole_part(database: str) -> None:
    kept(mail("ann@example.com", "bob@example.com", batch=True))
    kept()
    ann, bob, _ = recipients()
    come(raw("delivered", ann))
    assert [one.state for one in parts()] == ["accepted", "waiting"]
    assert [one.status for one in recipients()] == ["delivered", "queued", "queued"]
    come(raw("bounce", bob))
    assert [one.status for one in recipients()] == ["delivered", "bounced", "queued"]


def test_an_address_that_comes_back_in_capitals(database: str) -> None:
    kept(mail("Ann.Müller@Example.com"))
    come(raw("delivered", recipients()[0], email=" ANN.MÜLLER@example.COM"))
    assert recipients()[0].status == "delivered"


@pytest.mark.parametrize("email", ["forwarded@elsewhere.example", None, 17])
def test_an_event_of_another_address_shows_it_too_and_moves_nobody(database: str, email: object) -> None:
    kept()
    come(raw("delivered", recipients()[0], email=email))
    assert (part().state, recipients()[0].status) == ("accepted", "queued")


def test_two_copies_to_one_address_are_two_recipients(database: str) -> None:
    kept(mail("ann@example.com", "bob@example.com", cc=["eve@example.com"], batch=True))
    eve, _ = (one for one in recipients() if one.address == "eve@example.com")
    come(raw("delivered", eve))
    assert [one.status for one in recipients() if one.address == "eve@example.com"] == ["delivered", "queued"]


# Accepted twice


@pytest.mark.parametrize("together", [True, False])
def test_two_requests_under_one_id_are_a_mail_sent_twice(
    database: str, together: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kept()
    first, second = raw("processed", recipients()[0]), raw("processed", recipients()[0], base=SECOND)
    if together:
        come(first, second)
    else:
        come(first)
        assert not part().sent_twice
        come(second)
    come(raw("delivered", recipients()[0], base=SECOND))
    assert (part().sent_twice, part().x_message_id) == (True, FIRST)
    assert caplog.messages == [f"SendGrid has accepted part {part().pk} twice"]


def test_another_request_than_the_one_that_was_answered(database: str) -> None:
    kept()
    be(State.ACCEPTED, x_message_id=SECOND, seen_at=part().created_at, accepted_at=part().created_at)
    come(raw("processed", recipients()[0], base=SECOND))
    assert not part().sent_twice
    come(raw("processed", recipients()[0], base=FIRST))
    assert (part().sent_twice, part().x_message_id) == (True, SECOND)


def test_what_the_first_event_did_not_tell_a_later_one_does(database: str) -> None:
    kept()
    come(raw("processed", recipients()[0], sg_message_id=""))
    assert (part().state, part().x_message_id) == ("accepted", "")
    come(raw("delivered", recipients()[0], base=FIRST))
    assert (part().x_message_id, part().sent_twice) == (FIRST, False)
    come(raw("delivered", recipients()[0], base=SECOND))
    assert part().sent_twice


@pytest.mark.parametrize(
    "found",
    [
        None,
        "",
        17,
        FIRST,
        "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        f"{'x' * 23}.recvd.0",
        f"{'x' * 21}\0.recvd.0",
        f"{'x' * 21}\ud800.recvd.0",
        f"{'ü' * 22}.recvd.0",
    ],
)
def test_ids_of_another_make_tell_nothing_of_requests(database: str, found: object) -> None:
    kept()
    come(raw("processed", recipients()[0], base=FIRST))
    come(raw("delivered", recipients()[0], sg_message_id=found))
    assert (part().sent_twice, recipients()[0].status) == (False, "delivered")


def test_an_id_with_spaces_around_it(database: str) -> None:
    kept()
    come(raw("processed", recipients()[0], sg_message_id=f" {FIRST}.recvd.0 "))
    assert part().x_message_id == FIRST


def test_an_answer_whose_id_does_not_look_like_those_of_events(database: str) -> None:
    kept()
    be(State.ACCEPTED, x_message_id="14c5d75ce93.dfd.64b469", accepted_at=part().created_at)
    come(raw("processed", recipients()[0]))
    assert (part().sent_twice, part().x_message_id) == (False, "14c5d75ce93.dfd.64b469")


def test_a_202_that_is_written_down_while_its_events_are_being_stored_is_not_overlooked(
    database: str,
) -> None:
    kept()
    be(State.POSTING)

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        found = call(sql, params, many, context)
        if sql.startswith("SELECT") and "sending_app_recipient" in sql and not done:
            done.append(1)
            be(State.ACCEPTED, x_message_id=SECOND)
        return found

    done: list[int] = []
    with connections[database].execute_wrapper(execute):
        take_in(event("processed", recipients()[0], base=FIRST))
    assert (part().sent_twice, part().x_message_id) == (True, SECOND)


# Whoever is not ours


@pytest.mark.parametrize(
    "message_id",
    ["7f3c3a4e-0000-4000-8000-000000000000", "{7f3c3a4e-0000-4000-8000-00000000}", "x" * 36, "\ud800" * 36],
)
def test_events_of_foreign_mail_cost_one_query(database: str, message_id: str) -> None:
    kept()
    found = [event("open", recipients()[0], anymail_id=message_id) for _ in range(3)]
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*found)
    assert sum("SELECT" in query["sql"] for query in queries) <= 1
    assert not any("UPDATE" in query["sql"] for query in queries)
    assert part().state == "waiting"


@pytest.mark.parametrize("message_id", [None, "", "<20260101.1@smtp.example>", "an-id-of-another-making"])
def test_events_without_an_id_of_ours_cost_none(database: str, message_id: str | None) -> None:
    kept()
    one = event("open", recipients()[0], anymail_id=message_id)
    with CaptureQueriesContext(connections[database]) as queries, transaction.atomic(using=database):
        evidence.take_in([one], [datetime.now(UTC)])
    assert [query["sql"] for query in queries if "SELECT" in query["sql"]] == []


def test_events_of_many_mails_cost_few_queries(database: str) -> None:
    for _ in range(12):
        kept()
    found = [event("delivered", one) for one in recipients()]
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*found)
    assert len(queries) < 30
    assert {one.status for one in recipients()} == {"delivered"}
    with CaptureQueriesContext(connections[database]) as queries:
        take_in(*(event("open", one) for one in recipients()))
    assert len(queries) <= 10
    assert all(one.opened_at for one in recipients())


# With the storing, or not at all


def test_what_the_storing_undoes_is_undone(database: str) -> None:
    kept()
    with transaction.atomic(using=database):
        come(raw("delivered", recipients()[0]))
        assert part().state == "accepted"
        transaction.set_rollback(True, using=database)
    assert (part().state, recipients()[0].status, Event.objects.count()) == ("waiting", "queued", 0)


@contextmanager
def refusing(database: str, error: Exception, table: str = "sending_app_part") -> Iterator[None]:
    """Every update of the table raises."""

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE" in sql and table in sql and "FOR UPDATE" not in sql:
            raise error
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        yield


@pytest.mark.parametrize("table", ["sending_app_part", "sending_app_recipient"])
def test_a_fault_of_ours_loses_no_event(database: str, table: str, caplog: pytest.LogCaptureFixture) -> None:
    kept()
    with refusing(database, ZeroDivisionError("ours"), table):
        stored = inbox.store(entries(raw("delivered", recipients()[0])), Claim())
    assert (len(stored.owed), Event.objects.count()) == (1, 1)
    assert (part().state, part().seen_at, recipients()[0].status) == ("waiting", None, "queued")
    assert caplog.messages == ["What 1 events say of our mails could not be written down"]
    assert "ann@example.com" not in caplog.text


def test_a_database_that_goes_away_puts_the_events_back(database: str) -> None:
    kept()
    with refusing(database, OperationalError()), pytest.raises(DatabaseAway):
        come(raw("delivered", recipients()[0]))
    assert (Event.objects.count(), part().state) == (0, "waiting")
    come(raw("delivered", recipients()[0]))
    assert part().state == "accepted"


def test_a_time_limit_puts_the_events_back(database: str) -> None:
    kept()
    with refusing(database, SoftTimeLimitExceeded()), pytest.raises(SoftTimeLimitExceeded):
        come(raw("delivered", recipients()[0]))
    assert (Event.objects.count(), part().state) == (0, "waiting")


def test_it_is_connected_once() -> None:
    names = [key[0] for key, *_ in signals.stored.receivers]
    assert names.count("sending_app.evidence") == 1


# What receivers are told


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PARKED, State.WAITING, State.FAILED])
def test_receivers_are_told_once_it_is_stored_that_sendgrid_has_it(database: str, state: Part.State) -> None:
    kept()
    be(state)
    with told() as heard:
        with transaction.atomic(using=database):
            come(raw("processed", recipients()[0]))
            assert heard.calls == []
        come(raw("delivered", recipients()[0]))
    assert heard.signals == ["post_send"]
    assert heard.calls[0][1]["message"].to == ["ann@example.com"]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.POSTING])
def test_nobody_is_told_of_what_the_poster_tells(database: str, state: Part.State) -> None:
    kept()
    be(state)
    with told() as heard:
        come(raw("processed", recipients()[0]))
    assert heard.calls == []


def test_a_part_that_was_given_up_takes_its_recipients_back(database: str) -> None:
    kept(mail("ann@example.com", "bob@example.com"))
    be(State.FAILED)
    Recipient.objects.update(status="failed", rank=1)
    come(raw("delivered", recipients()[0]))
    assert [one.status for one in recipients()] == ["delivered", "queued"]


# Many workers


def test_workers_that_hear_of_the_same_mails_crosswise_wait_for_each_other_and_no_more(database: str) -> None:
    for number in range(12):
        kept(mail(f"{number}@example.com", f"other-{number}@example.com"))
    together = Barrier(4)

    def store(worker: int) -> None:
        chance = random.Random(worker)
        kinds = ("processed", "delivered", "open", "bounce")
        batches = [
            [raw(kind, one, base=FIRST if worker % 2 else SECOND) for one in everybody] for kind in kinds
        ]
        together.wait()
        try:
            for batch in batches:
                come(*chance.sample(batch, len(batch)))
        finally:
            connections.close_all()

    everybody = recipients()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(4)))
    assert {one.state for one in parts()} == {"accepted"}
    assert {one.sent_twice for one in parts()} == {True}
    assert {one.status for one in recipients()} == {"bounced"}
    assert all(one.opened_at for one in recipients())


# Any order

KINDS = ("processed", "deferred", "delivered", "bounce", "open")


@hypothesis_settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    facts=st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from(["ann", "bob"]), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    state=st.sampled_from([one for one in State if one is not State.POSTING]),
    data=st.data(),
)
def test_in_any_order_and_any_batches_events_lead_to_the_same(
    database: str, facts: list[tuple[str, str, int, bool]], state: Part.State, data: st.DataObject
) -> None:
    Part.objects.all().delete()
    for _ in range(2):
        kept(mail("ann@example.com", "bob@example.com"))
    be_all = Part.objects.update(state=state)
    assert be_all == 2
    one, other = parts()
    made = {
        which.pk: [
            event(kind, row, seconds, SECOND if second else FIRST)
            for kind, name, seconds, second in facts
            for row in recipients(which)
            if row.address.startswith(name)
        ]
        for which in (one, other)
    }
    take_in(*made[one.pk])
    order = data.draw(st.permutations(made[other.pk] + data.draw(st.lists(st.sampled_from(made[other.pk])))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        take_in(*order[start:end])
    assert outcome(one) == outcome(other)


def outcome(found: Part) -> list[Any]:
    found.refresh_from_db()
    names = ("address", "status", "rank", "status_at", "reject_reason", "opened_at")
    return [
        found.state,
        found.sent_twice,
        *(tuple(getattr(one, name) for name in names) for one in recipients(found)),
    ]


LATER = datetime(2026, 7, 14, 12, 0, 30, tzinfo=UTC)
EARLIER = LATER - timedelta(seconds=25)


@pytest.mark.parametrize("order", [(EARLIER, LATER), (LATER, EARLIER)])
@pytest.mark.parametrize("together", [True, False])
def test_a_part_is_seen_when_its_first_event_reached_the_webhook(
    database: str, order: tuple[datetime, datetime], together: bool
) -> None:
    kept()
    kept()
    ann, other = recipients()
    events = [event(kind, ann, seconds=-10 * 86400) for kind in ("processed", "delivered")]
    with transaction.atomic(using=database):
        if together:
            evidence.take_in([*events, event("processed", other)], [*order, LATER])
        else:
            evidence.take_in(events[:1], order[:1])
            evidence.take_in([event("processed", other)], [LATER])
            evidence.take_in(events[1:], order[1:])
    assert [(one.seen_at, one.accepted_at) for one in parts()] == [(EARLIER, EARLIER), (LATER, LATER)]


def test_an_earlier_event_leaves_what_a_202_said(database: str) -> None:
    kept()
    be(State.ACCEPTED, accepted_at=EARLIER, finished_at=EARLIER)
    come(raw("delivered", recipients()[0]), at=LATER)
    come(raw("processed", recipients()[0]), at=LATER - timedelta(seconds=1))
    found = part()
    assert (found.accepted_at, found.finished_at) == (EARLIER, EARLIER)
    assert found.seen_at == LATER - timedelta(seconds=1)


def test_a_lone_fault_is_logged_as_an_error(database: str, caplog: pytest.LogCaptureFixture) -> None:
    kept()
    with refusing(database, ZeroDivisionError()):
        take_in(event("processed", recipients()[0]))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
