"""The words of the signals and their events, and who sends them."""

from datetime import UTC, datetime

import pytest

from events_app import signals
from events_app.inbound.message import AnymailInboundMessage
from events_app.signals import (
    AnymailInboundEvent,
    AnymailTrackingEvent,
    EventType,
    InboundEvent,
    RejectReason,
    TrackingEvent,
)
from events_app.views import SendGridInboundWebhookView, SendGridTrackingWebhookView


def test_webhook_views_are_registered_by_name() -> None:
    assert signals.webhook_views == {
        "tracking": SendGridTrackingWebhookView,
        "inbound": SendGridInboundWebhookView,
        "own": SendGridTrackingWebhookView,
    }


def test_event_types_and_reject_reasons_are_those_of_anymail() -> None:
    event = AnymailTrackingEvent(event_type=EventType.BOUNCED, reject_reason=RejectReason.TIMED_OUT)
    assert isinstance(event, TrackingEvent)
    assert (event.event_type, event.reject_reason) == ("bounced", "timed_out")
    assert f"{event.event_type}" == "bounced"
    assert {str(word) for word in EventType} >= {"queued", "sent", "rejected", "autoresponded", "unknown"}
    # The types of tracking events, as in the database, do not include those of inbound mail.
    assert (EventType.INBOUND, EventType.INBOUND_FAILED) == ("inbound", "inbound_failed")
    assert not {EventType.INBOUND, EventType.INBOUND_FAILED} & {str(word) for word in EventType}


def test_a_tracking_event_takes_every_argument_of_anymails() -> None:
    arguments = {
        "event_type": "bounced",
        "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
        "event_id": "id",
        "esp_event": {"event": "bounce"},
        "click_url": "https://example.com",
        "description": "The message bounced.",
        "message_id": "message",
        "metadata": {"order": "7"},
        "mta_response": "550 no",
        "recipient": "ann@example.com",
        "reject_reason": "timed_out",
        "tags": ["receipt"],
        "user_agent": "browser",
    }
    event = AnymailTrackingEvent(**arguments, note="ignored")  # type: ignore[arg-type]
    assert {name: getattr(event, name) for name in arguments} == arguments
    assert not hasattr(event, "note")
    # The words are those of a worker's events.
    assert event.event_type is EventType.BOUNCED
    assert event.reject_reason is RejectReason.TIMED_OUT


def test_each_event_has_metadata_tags_and_esp_event_of_its_own() -> None:
    one, other = (AnymailTrackingEvent(event_type="opened", metadata=None) for _ in range(2))
    one.metadata["order"], one.esp_event["event"] = "7", "open"
    one.tags.append("receipt")
    assert (other.metadata, other.tags, other.esp_event) == ({}, [], {})
    assert AnymailInboundEvent().esp_event is not AnymailInboundEvent().esp_event


def test_a_receiver_may_give_its_event_attributes() -> None:
    events = (AnymailTrackingEvent(event_type="opened"), AnymailInboundEvent(event_type="inbound"))
    for event in events:
        event.note = 1  # type: ignore[union-attr]
        event.event_id = "changed"
        assert (vars(event)["note"], event.event_id) == (1, "changed")


def test_events_are_equal_by_their_attributes_and_readable() -> None:
    one, other = (TrackingEvent(event_type=EventType.OPENED, recipient="ann@example.com") for _ in range(2))
    assert one == other
    other.recipient = "bob@example.com"
    assert one != other
    assert repr(one).startswith("TrackingEvent(event_type=<EventType.OPENED: 'opened'>, message_id=None, ")
    assert InboundEvent(event_id="1") == InboundEvent(event_id="1") != InboundEvent(event_id="2")


def test_an_inbound_event_takes_every_argument_of_anymails() -> None:
    message = AnymailInboundMessage.construct(text="Hi")
    event = AnymailInboundEvent(
        event_type="inbound", timestamp=None, event_id=None, esp_event=None, message=message, recipient="?"
    )
    assert (event.event_type, event.message, event.esp_event) == (EventType.INBOUND, message, {})
    assert AnymailInboundEvent(event_type="inbound").message is None
    assert not hasattr(event, "recipient")


def test_an_event_needs_a_type_and_takes_any_text() -> None:
    with pytest.raises(TypeError, match="event_type"):
        AnymailTrackingEvent()  # type: ignore[call-arg]
    event = AnymailTrackingEvent(event_type="inbound_failed", reject_reason="of the shop")
    assert (event.event_type, event.reject_reason) == ("inbound_failed", "of the shop")
