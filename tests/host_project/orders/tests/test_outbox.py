"""Mail through our backends in a TestCase: composed, gathered, and sent to nobody."""

from accounts.models import User
from django.test import TestCase

from events_app.signals import EventType
from events_app.testing import post_events, tracking_event
from orders.tests.mailers import using
from sending_app.models import Recipient
from sending_app.testing import assert_mail_sent, assert_no_mail_sent, drain


class OutboxTests(TestCase):
    def setUp(self) -> None:
        self.ann = User.objects.create_user("ann@customer.example")

    def announce(self) -> None:
        self.assertEqual(self.client.post("/announce/", {"title": "Emma"}).status_code, 200)

    def assert_announced(self) -> None:
        assert_mail_sent(
            to="ann@customer.example",
            template_id="d-5a963add2ec84305813ff860db277d7a",
            merge_data={"ann@customer.example": {"customer": self.ann.pk}},
            merge_global_data={"title": "Emma"},
            tags=["announcement"],
        )
        assert_no_mail_sent(to="bob@customer.example")

    def test_each_backend_gathers_the_announcement(self) -> None:
        for backend in ("queued", "direct", "locmem"):
            with self.subTest(backend), using(backend):
                self.announce()
                self.assert_announced()

    @using("queued")
    def test_an_event_of_the_mail_gives_its_recipient_a_status(self) -> None:
        self.announce()
        message = assert_mail_sent(to="ann@customer.example")
        self.assertEqual(drain(), 1)
        sent = message.anymail_status.recipients["ann@customer.example"]  # type: ignore[attr-defined]
        event = tracking_event(
            EventType.DELIVERED, recipient="ann@customer.example", message_id=sent.message_id
        )
        post_events(self.client, [event])
        self.assertEqual(Recipient.objects.get().status, "delivered")
