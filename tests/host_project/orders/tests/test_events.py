"""Events and inbound mail, posted to the webhooks in a TestCase."""

import base64
import json
import time
from collections import Counter
from typing import Any

from accounts.models import User
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.test import TestCase

from events_app.inbound.message import InboundMessage
from events_app.signals import EventType, tracking
from events_app.testing import drain, post_events, post_inbound, record_failures, tracking_event
from orders.models import Call, Question

KINDS = {
    *("function", "async function", "class method", "static method"),
    *("first object", "first object's method", "first object's async method"),
    *("second object", "second object's method"),
    *("first partial", "second partial", "first nested function", "second nested function"),
    *("first lambda", "second lambda"),
}


class PostTests(TestCase):
    def test_a_plain_signed_post_calls_receivers_of_each_kind_once(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        event = {
            "event": "delivered",
            "email": "ann@customer.example",
            "timestamp": int(time.time()),
            "sg_event_id": "an id",
        }
        body, timestamp = json.dumps([event]).encode(), str(int(time.time()))
        signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        anymail = {
            **settings.ANYMAIL,
            "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": base64.b64encode(public).decode(),
        }
        with self.settings(ANYMAIL=anymail):
            response = self.client.post(
                "/anymail/sendgrid/tracking/",
                body,
                content_type="application/json",
                headers={
                    "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
                    "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
                },
            )
        self.assertEqual(response.status_code, 200)
        calls = Counter(Call.objects.values_list("receiver", "event_id"))
        self.assertEqual(calls, {(kind, "an id"): 1 for kind in KINDS})

    def test_a_bounce_stops_mail_to_the_customer(self) -> None:
        User.objects.create_user("ann@customer.example")
        post_events(self.client, [tracking_event(EventType.BOUNCED, recipient="ann@customer.example")])
        self.assertFalse(User.objects.get().gets_mail)

    def test_a_question_by_mail_is_taken(self) -> None:
        mail = InboundMessage.construct(
            from_email="Ann <ann@customer.example>", to="shop@bookshop.example", subject="Emma", text="When?"
        )
        response = post_inbound(self.client, mail)
        self.assertEqual(response.status_code, 200)
        question = Question.objects.get()
        self.assertEqual((question.sender, question.text.strip()), ("ann@customer.example", "When?"))


class FailureTests(TestCase):
    def setUp(self) -> None:
        self.failing = True
        self.attempts: list[int] = []
        tracking.connect(self.fail_at_first, dispatch_uid="fail at first", weak=False)
        self.addCleanup(tracking.disconnect, dispatch_uid="fail at first")

    def fail_at_first(self, attempt: int, **_: Any) -> None:
        self.attempts.append(attempt)
        if self.failing:
            raise ValueError("not today")

    def test_an_exception_of_a_receiver_comes_out_of_the_post(self) -> None:
        with self.assertRaisesMessage(ValueError, "not today"):
            post_events(self.client, [tracking_event()])

    def test_a_recorded_failure_is_retried_alone(self) -> None:
        with record_failures():
            self.assertEqual(post_events(self.client, [tracking_event()]).status_code, 200)
        self.failing = False
        self.assertEqual(drain(), 1)
        self.assertEqual(self.attempts, [1, 2])
        self.assertEqual(Call.objects.count(), len(KINDS))
        self.assertEqual(drain(), 0)
