"""Events of ours are stored in the caller's transaction, and reach the receivers like SendGrid's."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, transaction

from events_app import tasks
from events_app.models import Event, HourlyCount, PendingDelivery, UnfoldedCounts
from events_app.normalize import normalize
from events_app.shared import hourly, own_events
from events_app.signals import ReceiverSignal, TrackingEvent
from events_app.views import SendGridTrackingWebhookView
from tests.support.databases import database_away

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def left_out(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "event": "dropped",
        "email": "Ann@Example.com",
        "timestamp": 1784030400,
        "reason": "Bounced Address",
        "sg_event_id": f"ours-{number}",
        "anymail_id": f"message-{number}",
        "category": ["orders"],
        "order": "17",
        own_events.MARK: own_events.SUPPRESSED,
        **fields,
    }


@pytest.fixture
def received(tracking: ReceiverSignal) -> list[tuple[Any, TrackingEvent]]:
    """The senders and the events that a receiver has got."""
    calls: list[tuple[Any, TrackingEvent]] = []
    tracking.connect(
        lambda sender, event, **_: calls.append((sender, event)), weak=False, dispatch_uid="received"
    )
    return calls


def test_an_event_of_ours_is_stored_without_a_lease_and_a_drain_delivers_it(
    database: str, received: list[tuple[Any, TrackingEvent]]
) -> None:
    own_events.keep([left_out()])
    event = Event.objects.get()
    assert (event.event_type, event.recipient, event.webhook) == ("rejected", "ann@example.com", "own")
    assert (event.pending.lease, event.pending.failures) == (None, 0)
    assert not received
    tasks.drain()
    ((sender, told),) = received
    assert sender is SendGridTrackingWebhookView
    assert (told.event_type, told.reject_reason, told.message_id) == ("rejected", "bounced", "message-1")
    assert (told.tags, told.metadata) == (["orders"], {"order": "17"})
    assert told.esp_event[own_events.MARK] == "suppressed"
    assert not PendingDelivery.objects.exists()


def test_a_receiver_of_the_webhook_view_gets_events_of_ours(database: str, tracking: ReceiverSignal) -> None:
    calls: list[TrackingEvent] = []
    tracking.connect(
        lambda event, **_: calls.append(event),
        sender=SendGridTrackingWebhookView,
        weak=False,
        dispatch_uid="x",
    )
    own_events.keep([left_out()])
    tasks.drain()
    assert [event.event_id for event in calls] == ["ours-1"]


def test_events_of_ours_are_counted_and_stored_once(database: str) -> None:
    own_events.keep([left_out(1), left_out(2)])
    own_events.keep([left_out(2), left_out(3)])
    assert Event.objects.count() == PendingDelivery.objects.count() == 3
    hourly.fold(UnfoldedCounts, database)
    assert (
        sum(HourlyCount.objects.filter(name="events", label="rejected").values_list("count", flat=True)) == 3
    )


def test_events_of_ours_go_with_a_transaction_that_is_rolled_back(database: str) -> None:
    with transaction.atomic(using=database):
        own_events.keep([left_out()])
        transaction.set_rollback(True, using=database)
    assert not Event.objects.exists()
    assert not PendingDelivery.objects.exists()


def test_a_database_that_is_away_raises(database: str) -> None:
    with database_away(database), pytest.raises(OperationalError):
        own_events.keep([left_out()])


def test_without_events_nothing_is_asked(database: str) -> None:
    with database_away(database):
        own_events.keep([])


def test_in_a_test_run_the_receivers_are_called_at_once(
    database: str, anymail: Callable[..., None], received: list[tuple[Any, TrackingEvent]]
) -> None:
    anymail(EAGER_IN_TESTS=True)
    own_events.keep([left_out()])
    assert [event.event_id for _, event in received] == ["ours-1"]
    assert Event.objects.get().webhook == "own"


def test_the_scope_of_an_unsubscribe_of_ours_is_no_metadata() -> None:
    raw = {"event": "group_unsubscribe", "unsubscribe_scope": "news", "order": "17"}
    assert normalize({**raw, own_events.MARK: own_events.UNSUBSCRIBED}).metadata == {"order": "17"}
    assert normalize(raw).metadata == {"unsubscribe_scope": "news", "order": "17"}


def test_a_recipient_left_out_is_described() -> None:
    described = "The recipient was left out of the mail: Bounced Address."
    assert normalize(left_out()).description == described
    assert normalize(json.loads(json.dumps(left_out(reason="x@example.com")))).description == (
        "The recipient was left out of the mail."
    )
