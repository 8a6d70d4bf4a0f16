"""The seed's heading "Status tracking webhooks": the id of a mail comes back in its events.

How events come, and what they are made of, is tested in tests/events_app.
"""

import random
from typing import Any

from events_app.normalize import normalize
from events_app.signals import TrackingEvent
from fake_sendgrid import scenarios
from fake_sendgrid.server import FakeSendGrid
from tests.support.sending.django_mail import Sent, django_message


def events(sendgrid: FakeSendGrid) -> list[TrackingEvent]:
    """What the webhook would be told of the one accepted mail, as receivers get it."""
    (mail,) = sendgrid.accepted
    found = scenarios.events(mail.body, mail.x_message_id, int(mail.at), random.Random(1))
    return [normalize(one) for one in found]


def test_a_tracking_event_has_the_message_id_of_the_sent_message(sent: Sent, sendgrid: FakeSendGrid) -> None:
    message = django_message(to=["click@example.com"], tags=["orders"], metadata={"order": 5})
    sent(message)
    found = events(sendgrid)
    assert [event.event_type for event in found] == ["queued", "delivered", "opened", "clicked"]
    for event in found:
        assert event.message_id == message.anymail_status.message_id
        assert event.recipient == "click@example.com"
        assert event.tags == ["orders"]
        assert event.metadata == {"order": "5"}


def test_a_tracking_event_of_a_batch_has_the_message_id_of_its_recipient(
    sent: Sent, sendgrid: FakeSendGrid
) -> None:
    message: Any = django_message(to=["dropped@example.com", "bounce@example.com"], merge_data={})
    sent(message)
    found = {event.event_type.value: event for event in events(sendgrid)}
    of = message.anymail_status.recipients
    assert found["rejected"].message_id == of["dropped@example.com"].message_id
    assert found["bounced"].message_id == of["bounce@example.com"].message_id
    assert found["bounced"].message_id != found["rejected"].message_id


def test_without_message_ids_a_tracking_event_has_the_smtp_id(
    sent: Sent, sendgrid: FakeSendGrid, anymail: Any
) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    sent(django_message())
    for event in events(sendgrid):
        assert event.message_id == event.esp_event["smtp-id"]
