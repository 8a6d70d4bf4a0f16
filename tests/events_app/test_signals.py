"""The words of the signals, and who sends them."""

from events_app import signals
from events_app.signals import AnymailTrackingEvent, EventType, RejectReason, TrackingEvent
from events_app.views import SendGridInboundWebhookView, SendGridTrackingWebhookView


def test_webhook_views_are_registered_by_name() -> None:
    assert signals.webhook_views == {
        "tracking": SendGridTrackingWebhookView,
        "inbound": SendGridInboundWebhookView,
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
