"""What came in is in one state, and is found by it and by the receivers that failed, on either database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

import pytest
from django.db.models import QuerySet

from events_app.dispatch import leases
from events_app.dispatch.filters import Filter, State, pending_of, state_of
from events_app.models import AbstractPendingDelivery, Event, InboundMail
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import RECEIVED, add_pending_mail, store_read_mail

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


class Kind(NamedTuple):
    rows: Callable[[], "QuerySet[Any]"]
    #: Keeps so many, with nothing pending; answers their ids.
    keep: Callable[[int], list[int]]
    make_pending: Callable[..., AbstractPendingDelivery]

    def found(self, **asked: Any) -> list[int]:
        return sorted(row.pk for row in Filter(**asked).apply(self.rows()))


EVENTS = Kind(
    Event.objects.all,
    lambda count: store_done(*(open_event(f"{at:02d}") for at in range(count))),
    add_pending,
)
MAILS = Kind(
    InboundMail.objects.all, lambda count: [store_read_mail() for _ in range(count)], add_pending_mail
)


@pytest.fixture(params=[EVENTS, MAILS], ids=["events", "mails"])
def kind(request: pytest.FixtureRequest, database: str) -> Kind:
    found: Kind = request.param
    return found


def test_filter_by_state(kind: Kind) -> None:
    dead, done, pending, retrying, replay = kind.keep(5)
    kind.make_pending(dead, state="dead")
    kind.make_pending(pending)
    kind.make_pending(retrying, failures=1)
    kind.make_pending(replay, replay=True)
    assert kind.found(states=("dead",)) == [dead]
    assert kind.found(states=("done",)) == [done]
    assert kind.found(states=("pending",)) == [pending]
    assert kind.found(states=("retrying",)) == sorted([retrying, replay])
    assert kind.found(states=("dead", "done")) == sorted([dead, done])
    assert len(kind.found(states=tuple(State))) == 5


def test_each_row_matches_exactly_the_state_shown_for_it(kind: Kind) -> None:
    rows = list(product(("pending", "dead"), (0, 1), (False, True), (None, leases.ORPHANED, 7), (0, 5)))
    pks = kind.keep(len(rows) + 1)
    for pk, (state, failures, replay, lease, worker_deaths) in zip(pks, rows, strict=False):
        kind.make_pending(
            pk, state=state, failures=failures, replay=replay, lease=lease, worker_deaths=worker_deaths
        )
    found = {state: Filter(states=(state,)).apply(kind.rows()).select_related("pending") for state in State}
    assert sum(map(len, found.values())) == len(pks)
    for state, events in found.items():
        assert {state_of(pending_of(event)) for event in events} == {state}


@pytest.mark.parametrize(
    "name", ["shop.receivers.stop", "a__b", 'quo"ted', "7", "", "%s", "ünïcode", "back\\slash", "$.x[0]"]
)
def test_filter_by_failed_receiver(kind: Kind, name: str) -> None:
    first, second, third, _ = kind.keep(4)
    kind.make_pending(first, failures=1, receivers={"other": "Traceback", name: "Traceback"})
    kind.make_pending(second, failures=1, receivers={"other": "Traceback"})
    kind.make_pending(third)
    assert kind.found(receiver=name) == [first]


def test_filter_by_failed_receiver_ignores_uncalled_receivers(kind: Kind) -> None:
    first, second = kind.keep(2)
    kind.make_pending(first, failures=1, receivers={"shop": "", "bank": "Traceback"})
    kind.make_pending(second, state="dead", receivers={"shop": "null"})
    assert kind.found(receiver="shop") == [second]
    assert kind.found(receiver="bank") == [first]


def test_filter_by_received_time(kind: Kind) -> None:
    first, second = kind.keep(2)
    kind.rows().filter(pk=second).update(received_at=RECEIVED + timedelta(hours=1))
    assert kind.found(since=RECEIVED) == sorted([first, second])
    assert kind.found(since=RECEIVED + timedelta(seconds=1)) == [second]
    assert kind.found(until=RECEIVED + timedelta(hours=1)) == [first]
    assert kind.found(until=RECEIVED) == []


def test_an_empty_filter_is_recognized() -> None:
    assert Filter().is_empty()
    assert Filter(states=()).is_empty()
    for asked in ({"states": ("dead",)}, {"receiver": ""}, {"since": datetime(2026, 7, 14, tzinfo=UTC)}):
        assert not Filter(**asked).is_empty()
