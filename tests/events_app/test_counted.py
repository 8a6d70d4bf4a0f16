"""What the way of an event counts: from the post to the receivers."""

import json

import pytest
from django.test import Client

from events_app import tasks
from events_app.signals import ReceiverSignal
from fake_sendgrid.events import generate_events
from tests.support.events.leases import make_due
from tests.support.events.webhook_requests import SECRET
from tests.support.monitoring import counted, observed
from tests.support.recorded_calls import Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

URL = "/anymail/sendgrid/tracking/"


def post(*events: object) -> None:
    response = Client().post(URL, json.dumps(events), content_type="application/json", headers=SECRET)
    assert response.status_code == 200


def test_an_accepted_post_and_its_events_are_counted() -> None:
    post(*generate_events(250))
    post()
    assert counted("webhook_posts_total") == {("tracking", "200", "accepted"): 2}
    assert counted("events_received_total") == {("tracking",): 250}


def test_a_drain_counts_events_by_type_calls_and_durations(database: str, tracking: ReceiverSignal) -> None:
    Recorder(tracking, "fine")
    Recorder(tracking, "shop", "A1")
    times = {"email": "ann@example.com", "timestamp": 1_760_000_000}
    one, other = (
        {**times, "event": "delivered", "sg_event_id": "A1"},
        {**times, "event": "of next year", "sg_event_id": "B2"},
    )
    post(one, other, other)
    tasks.drain()
    assert counted("events_stored_total") == {("delivered",): 1, ("unknown",): 1}
    assert counted("events_duplicate_total") == {(): 1}
    assert counted("receiver_calls_total") == {
        ("fine", "ok"): 2,
        ("shop", "failed"): 1,
        ("shop", "ok"): 1,
    }
    assert observed("receiver_seconds") == {("fine",): 2, ("shop",): 2}
    assert observed("delivery_seconds") == {("events",): 2}


def test_a_retry_is_no_first_attempt(database: str, tracking: ReceiverSignal) -> None:
    shop = Recorder(tracking, "shop", "A1")
    post({"email": "ann@example.com", "timestamp": 1_760_000_000, "event": "delivered", "sg_event_id": "A1"})
    tasks.drain()
    shop.fails_at = None
    make_due(database)
    tasks.retry_events()
    assert counted("receiver_calls_total") == {("shop", "failed"): 1, ("shop", "ok"): 1}
    assert observed("delivery_seconds") == {("events",): 1}
