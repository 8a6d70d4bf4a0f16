"""Events suppress addresses, in any order of arrival."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DataError, OperationalError, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.models import Event
from events_app.normalize import normalize
from events_app.shared import own_events
from events_app.shared.database import DatabaseUnavailable
from sending_app.models import Suppression
from sending_app.suppression import feed
from tests.support.databases import database_away
from tests.support.examples import examples
from tests.support.sending.mail_events import EVENT_TIME, receive_events

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

AT = datetime.fromtimestamp(EVENT_TIME, UTC)

#: Arrival of an event.
ARRIVAL = AT + timedelta(minutes=1)


def raw(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "event": name,
        "email": "Ann@Example.com",
        "timestamp": EVENT_TIME,
        "sg_event_id": f"{name}-{sorted(fields.items())}",
        **fields,
    }


def ours(name: str, cause: str, **fields: Any) -> dict[str, Any]:
    return raw(name, **{own_events.MARK: cause, **fields})


def rows() -> list[tuple[str, str, str, bool]]:
    columns = ("address", "scope", "reason", "active")
    return sorted(Suppression.objects.values_list(*columns))


def test_control_characters_of_an_invalid_address_are_escaped(database: str) -> None:
    receive_events(raw("dropped", reason="Invalid", email="ann\x1b[31m\r@example.com"))
    assert rows() == [("ann\\x1b[31m\\r@example.com", "", "invalid", True)]


@pytest.mark.parametrize(
    ("event", "scope", "reason", "active"),
    [
        (raw("bounce", type="bounce"), "", "bounced", True),
        (raw("bounce"), "", "bounced", True),
        (raw("spamreport"), "", "spam", True),
        (raw("unsubscribe"), "", "unsubscribed", True),
        (raw("unsubscribe", asm_group_id=17), "", "unsubscribed", True),
        (raw("group_unsubscribe", asm_group_id=17), "group:17", "unsubscribed", True),
        (raw("group_unsubscribe", asm_group_id="17"), "group:17", "unsubscribed", True),
        (raw("group_resubscribe", asm_group_id=17), "group:17", "unsubscribed", False),
        (raw("dropped", reason="Bounced Address"), "", "bounced", True),
        (raw("dropped", reason="Bounced Address", asm_group_id=17), "", "bounced", True),
        (raw("dropped", reason="Invalid"), "", "invalid", True),
        (raw("dropped", reason="Spam Reporting Address"), "", "spam", True),
        (raw("dropped", reason="Unsubscribed Address"), "", "unsubscribed", True),
        (raw("dropped", reason="Unsubscribed Address", asm_group_id=17), "group:17", "unsubscribed", True),
        (ours("group_unsubscribe", "unsubscribe", unsubscribe_scope="news"), "news", "unsubscribed", True),
        (ours("unsubscribe", "unsubscribe", unsubscribe_scope=""), "", "unsubscribed", True),
    ],
)
def test_an_event_decides_about_a_suppression(
    database: str, event: dict[str, Any], scope: str, reason: str, active: bool
) -> None:
    receive_events(event)
    assert rows() == [("ann@example.com", scope, reason, active)]
    row = Suppression.objects.get()
    assert (row.since, row.decided_at, row.until, row.source) == (AT, AT, None, "event")
    assert row.event_id == event["sg_event_id"]


@pytest.mark.parametrize(
    "event",
    [
        raw("bounce", type="blocked"),
        raw("bounce", type="expired"),
        raw("bounce", bounce_classification="Content"),
        raw("deferred"),
        raw("dropped", reason="Blocked"),
        raw("dropped", reason="Expired"),
        raw("dropped", reason="Spam Content"),
        raw("dropped", reason="Recipient List over Package Quota"),
        ours("dropped", own_events.SUPPRESSED, reason="Bounced Address"),
        ours("dropped", own_events.SUPPRESSED, reason="Unsubscribed Address"),
        ours("group_unsubscribe", "unsubscribe", unsubscribe_scope="x" * 101),
        raw("group_unsubscribe"),
        raw("group_unsubscribe", asm_group_id=[17]),
        raw("group_unsubscribe", asm_group_id="1" * 200),
        raw("group_resubscribe"),
        raw("delivered"),
        raw("open"),
        raw("click"),
        raw("processed"),
        raw("spamreport", email=None),
        raw("spamreport", email=f"{'a' * 320}@example.com"),
        raw("account_status_change"),
    ],
)
def test_other_events_decide_nothing_and_cost_no_query(database: str, event: dict[str, Any]) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        feed.apply_events([normalize(event)], [ARRIVAL])
    assert not queries.captured_queries
    assert not Suppression.objects.exists()


def test_an_event_without_a_time_counts_from_its_arrival(database: str) -> None:
    feed.apply_events([normalize(raw("spamreport", timestamp=None))], [ARRIVAL])
    assert Suppression.objects.get().decided_at == ARRIVAL


EVENTS = [
    raw("bounce"),
    raw("spamreport"),
    raw("unsubscribe"),
    raw("group_unsubscribe", asm_group_id=17),
    raw("group_resubscribe", asm_group_id=17),
    raw("group_unsubscribe", asm_group_id=18),
    raw("dropped", reason="Unsubscribed Address", asm_group_id=17),
    raw("delivered"),
]


@hypothesis_settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    posted=st.lists(
        st.tuples(
            st.sampled_from(EVENTS), st.integers(0, 3), st.sampled_from(["ann@x.example", "Bob@x.example"])
        ),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 2**32),
)
def test_order_and_duplicates_of_events_change_nothing(
    database: str, posted: list[tuple[dict[str, Any], int, str]], seed: int
) -> None:
    events = [
        normalize({**event, "timestamp": EVENT_TIME + seconds, "email": email})
        for event, seconds, email in posted
    ]
    results = []
    order = random.Random(seed)
    shuffled = [*events, *order.choices(events, k=3)]
    order.shuffle(shuffled)
    for arrived in (events, shuffled):
        Suppression.objects.all().delete()
        begin = 0
        while batch := arrived[begin : begin + order.randint(1, len(arrived))]:
            feed.apply_events(batch, [ARRIVAL] * len(batch))
            begin += len(batch)
        # Not `since` and the id: of events of one second, the first to arrive decides.
        columns = ("address", "scope", "reason", "active", "decided_at", "until", "source")
        results.append(sorted(Suppression.objects.values_list(*columns)))
    assert results[0] == results[1]


def test_a_database_that_is_away_leaves_the_events_in_the_stream(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database_away(database), pytest.raises(OperationalError):
        feed.apply_events([normalize(raw("bounce"))], [ARRIVAL])

    def be_away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(feed, "record_words", be_away)
    with pytest.raises(DatabaseUnavailable):
        receive_events(raw("bounce"))
    assert not Event.objects.exists()


@pytest.mark.parametrize("fault", [DataError("ann@example.com"), TypeError("ann@example.com")])
def test_a_fault_of_the_feed_loses_no_event(
    database: str, fault: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(feed, "record_words", fail)
    receive_events(raw("bounce"))
    assert Event.objects.get().event_type == "bounced"
    assert "The suppressions of 1 events could not be recorded" in caplog.text
    assert "ann@example.com" not in caplog.text


def test_a_time_limit_is_raised(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def overrun(*_: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(feed, "record_words", overrun)
    with pytest.raises(SoftTimeLimitExceeded):
        feed.apply_events([normalize(raw("bounce"))], [ARRIVAL])
