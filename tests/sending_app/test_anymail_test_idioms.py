"""The test idioms of Anymail's documentation ("Testing your app") and of its users, on our backend for tests.

They change their imports and the backend's path, and nothing else.
"""
# ruff: noqa: PT009, PT027 (the idioms are those of unittest)

from typing import Any

from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import path

from sending_app.exceptions import AnymailInvalidAddress, AnymailUnsupportedFeature
from sending_app.message import AnymailMessage
from tests.support.sending.django_mail import LOCMEM, QUEUED, mailer_settings


def sign_up(request: HttpRequest) -> HttpResponse:
    message = AnymailMessage(
        subject="Confirm your address",
        body="Please confirm.",
        to=[request.POST["email"]],
        tags=["confirmation"],
    )
    message.send()
    return HttpResponse(status=204)


urlpatterns = [path("account/signup/", sign_up)]


def outbox() -> list[Any]:
    return mail.outbox


def with_defaults(**defaults: Any) -> dict[str, Any]:
    """`ANYMAIL` with these send defaults, and as in a project that sets nothing for tests."""
    unset = {name: value for name, value in settings.ANYMAIL.items() if name != "EAGER_IN_TESTS"}
    return {**unset, "SEND_DEFAULTS": defaults}


@override_settings(ROOT_URLCONF=__name__, ANYMAIL=with_defaults(track_clicks=True), **mailer_settings(LOCMEM))
class SignupTestCase(TestCase):
    def test_sends_confirmation_email(self) -> None:
        self.client.post("/account/signup/", {"email": "user@example.com"})
        self.assertEqual(len(outbox()), 1)
        self.assertEqual(outbox()[0].to, ["user@example.com"])
        self.assertEqual(outbox()[0].tags, ["confirmation"])
        self.assertTrue(outbox()[0].anymail_test_params["track_clicks"])

    def test_is_no_batch(self) -> None:
        self.client.post("/account/signup/", {"email": "user@example.com"})
        self.assertFalse(outbox()[0].anymail_test_params["is_batch_send"])


@override_settings(ANYMAIL=with_defaults(), **mailer_settings(QUEUED))
class QueuedSignupTestCase(SignupTestCase):
    """The same with the backend of production."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(override_settings(ANYMAIL=with_defaults(track_clicks=True)))


@override_settings(ANYMAIL=with_defaults(metadata={"shop": "ours"}), **mailer_settings(LOCMEM))
class TemplateTestCase(SimpleTestCase):
    def test_merge_data_and_template(self) -> None:
        message = EmailMessage(to=["a@example.com", "b@example.com"], from_email="shop@example.com")
        message.template_id = "d-1"  # type: ignore[attr-defined]
        message.merge_data = {"a@example.com": {"name": "A"}, "b@example.com": {"name": "B"}}  # type: ignore[attr-defined]
        message.merge_global_data = {"shop": "Ours"}  # type: ignore[attr-defined]
        message.send()
        params = outbox()[0].anymail_test_params
        self.assertEqual(params["template_id"], "d-1")
        self.assertDictEqual(params["merge_global_data"], {"shop": "Ours"})
        self.assertEqual(params["merge_data"]["b@example.com"]["name"], "B")
        self.assertEqual(params["metadata"], {"shop": "ours"})
        self.assertTrue(params["is_batch_send"])
        self.assertFalse(params.get("track_opens"))
        self.assertNotIn("send_at", params)
        self.assertEqual([email.addr_spec for email in params["to"]], ["a@example.com", "b@example.com"])

    def test_attachments(self) -> None:
        message = EmailMessage("Hello", "Text", "shop@example.com", ["a@example.com"])
        message.attach("invoice.pdf", b"%PDF", "application/pdf")
        message.send()
        self.assertEqual(outbox()[0].anymail_test_params["attachments"][0].name, "invoice.pdf")

    def test_status(self) -> None:
        message = EmailMultiAlternatives("Hello", "Text", "shop@example.com", ["a@example.com"])
        message.attach_alternative("<p>Text</p>", "text/html")
        self.assertEqual(message.send(), 1)
        status: Any = message.anymail_status  # type: ignore[attr-defined]
        self.assertIsNotNone(status.message_id)
        self.assertEqual(outbox()[0].anymail_status.recipients["a@example.com"].message_id, status.message_id)

    def test_errors(self) -> None:
        with self.assertRaises(AnymailInvalidAddress):
            send_mail("Hello", "Text", "shop@example.com", ["not an address"])
        with self.assertRaises(AnymailUnsupportedFeature):
            AnymailMessage("Hello", "Text", to=["a@example.com"], envelope_sender="b@example.com").send()
        self.assertEqual(len(outbox()), 0)
