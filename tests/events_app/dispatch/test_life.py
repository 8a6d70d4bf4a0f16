"""The life of events under everything that can go wrong, told by a state machine.

Whatever happens in whatever order: once it stops happening, every event is done, or dead with its
reason; and no receiver is called again after it has succeeded, but for a crash or a replay.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from events_app.dispatch import dispatcher, leases, replay, results, store
from events_app.dispatch.leases import Delivery, Lease
from events_app.models import Event, PendingDelivery
from events_app.shared.database import DatabaseUnavailable, database_now
from events_app.signals import ReceiverSignal, TrackingEvent
from tests.support.databases import database_away
from tests.support.events.stored_events import open_event, stream_entries
from tests.support.examples import examples

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

IDS = [f"event-{number}" for number in range(6)]
NAMES = ["shop", "bank", "post"]
TRIES = 3

some_ids = st.lists(st.sampled_from(IDS), min_size=1, unique=True)


class Lives(RuleBasedStateMachine):
    """A pipeline, and what its receivers have seen."""

    database: str
    signal: ReceiverSignal

    def __init__(self) -> None:
        super().__init__()
        PendingDelivery.objects.all().delete()
        Event.objects.all().delete()
        results.unwritten.writes.clear()
        self.signal.receivers = []
        for name in NAMES:
            self.signal.connect(self._receiver(name), dispatch_uid=name, weak=False)
        self.failing: set[tuple[str, str]] = set()
        self.goes_away_under: str | None = None
        #: Successful calls since the event was stored, replayed, or lost with its worker.
        self.successes: Counter[tuple[str, str]] = Counter()
        self.stored: set[str] = set()

    def _receiver(self, name: str) -> Any:
        def receiver(event: TrackingEvent, **_: Any) -> None:
            assert event.event_id
            key = event.event_id, name
            if self.goes_away_under == name:
                self.goes_away_under = None
                self.absence.enter_context(database_away(self.database))
                raise RuntimeError("the server is gone")
            if key in self.failing:
                raise RuntimeError(f"{name} is closed")
            # At once, or in ATOMIC_DISPATCH when it counts: with the commit.
            transaction.on_commit(lambda: self.successes.update([key]), using=self.database)

        return receiver

    # What happens

    @rule(ids=some_ids)
    def store_and_deliver(self, ids: list[str]) -> None:
        self._deliver(*self._store(ids))

    @rule(ids=some_ids)
    def store_and_die(self, ids: list[str]) -> None:
        """A worker that is killed before it calls anybody."""
        self._store(ids)

    @rule(ids=some_ids)
    def deliver_and_die(self, ids: list[str]) -> None:
        """A worker that is killed when it has called everybody and told the database nothing of it."""
        deliveries, lease = self._store(ids)
        receivers = dispatcher._receivers("tracking", lease)
        with self._database_back(), suppress(DatabaseUnavailable):
            for item in deliveries:
                calls = dispatcher._Calls(item, receivers, results.ResultBuffer(lease))
                calls.make(nullcontext, lambda _: False)

    @rule(ids=some_ids)
    def run_out_of_time(self, ids: list[str]) -> None:
        deliveries, lease = self._store(ids)
        self._deliver(deliveries, Lease(lease.token, lease.started - leases.BUDGET))

    @rule()
    def drain(self) -> None:
        lease = Lease()
        self._deliver(leases.take_released(lease, 3), lease)

    @rule()
    def retry(self) -> None:
        lease = Lease()
        self._deliver(leases.take_retries(lease, 3), lease)

    @rule()
    def recover(self) -> None:
        with self._database_back(), suppress(DatabaseUnavailable):
            dispatcher.recover(Lease(), yields=lambda: False)

    @rule(event_id=st.sampled_from(IDS), name=st.sampled_from(NAMES))
    def break_receiver(self, event_id: str, name: str) -> None:
        self.failing.add((event_id, name))

    @precondition(lambda self: self.failing)
    @rule(data=st.data())
    def mend_receiver(self, data: st.DataObject) -> None:
        self.failing.discard(data.draw(st.sampled_from(sorted(self.failing))))

    @rule(name=st.sampled_from(NAMES))
    def the_database_will_go_away_under(self, name: str) -> None:
        self.goes_away_under = name

    @rule()
    def time_passes(self) -> None:
        """Every lease ends, every delay is over. What a dead worker had in hand is called once more."""
        pending = PendingDelivery.objects.filter(state="pending")
        for row in pending.exclude(lease=None).exclude(lease=leases.ORPHANED).select_related("event"):
            self._forget(row.event.event_id, row.receivers)
        pending.update(due=database_now(self.database) - timedelta(seconds=1))

    @rule(ids=some_ids)
    def retry_by_hand(self, ids: list[str]) -> None:
        replay.retry(pks_of(ids))

    @rule(ids=some_ids)
    def replay_by_hand(self, ids: list[str]) -> None:
        settled = [
            pk for pk in pks_of(ids) if not PendingDelivery.objects.filter(pk=pk, state="pending").exists()
        ]
        for event in Event.objects.filter(pk__in=settled):
            self._forget(event.event_id)
        replay.replay(settled, [])

    # What must hold

    @invariant()
    def every_event_is_stored_once(self) -> None:
        assert Counter(Event.objects.values_list("event_id", flat=True)) == Counter(self.stored)

    @invariant()
    def no_receiver_is_called_after_it_has_succeeded(self) -> None:
        assert set(self.successes.values()) <= {1}

    @invariant()
    def the_dead_have_a_reason(self) -> None:
        for work in PendingDelivery.objects.filter(state="dead"):
            assert work.error
            assert work.lease is None

    def teardown(self) -> None:
        self.failing.clear()
        self.goes_away_under = None
        for _ in range(leases.MOST_WORKER_DEATHS + TRIES):
            self.time_passes()
            self.drain()
            self.drain()
            self.retry()
            self.retry()
            self.recover()
        assert not PendingDelivery.objects.filter(state="pending").exists()
        self.the_dead_have_a_reason()
        dead = set(PendingDelivery.objects.values_list("event__event_id", flat=True))
        for event_id in self.stored - dead:
            for name in NAMES:
                assert self.successes[event_id, name] == 1, (event_id, name)
        self.signal.receivers = []

    def _store(self, ids: list[str]) -> tuple[list[Delivery], Lease]:
        lease = Lease()
        self.stored |= set(ids)
        return store.store(stream_entries(*map(open_event, ids)), lease).deliveries, lease

    def _deliver(self, deliveries: list[Delivery], lease: Lease) -> None:
        with self._database_back(), suppress(DatabaseUnavailable):
            dispatcher.deliver(deliveries, lease)

    @contextmanager
    def _database_back(self) -> Iterator[None]:
        """Wherever it went in there, it is back afterwards, and the worker goes on to its next task."""
        with ExitStack() as self.absence:
            yield
        results.unwritten.flush()

    def _forget(self, event_id: str, receivers: Iterable[str] = ()) -> None:
        """These receivers, or all, may be called with this event again, whatever they have done."""
        for name in receivers or NAMES:
            self.successes.pop((event_id, name), None)


def pks_of(ids: list[str]) -> list[int]:
    return list(Event.objects.filter(event_id__in=ids).values_list("pk", flat=True))


@pytest.mark.parametrize("atomic", [False, True])
def test_every_event_ends_done_or_as_a_dead_letter(
    database: str, tracking: ReceiverSignal, anymail: Callable[..., None], atomic: bool
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=TRIES, ATOMIC_DISPATCH=atomic)
    Lives.database, Lives.signal = database, tracking
    run_state_machine_as_test(
        Lives,
        settings=hypothesis_settings(
            max_examples=examples(25), stateful_step_count=20, suppress_health_check=list(HealthCheck)
        ),
    )
