"""The user model, and the pages of the admin for such a user."""

from django.test import TestCase
from django.urls import reverse

from accounts.models import User


class UserTests(TestCase):
    def test_a_user_has_no_username(self) -> None:
        user = User.objects.create_user("ann@customer.example", "a password")
        self.assertEqual(user.get_username(), "ann@customer.example")

    def test_the_admin_shows_events_and_mail_to_such_a_user(self) -> None:
        self.client.force_login(User.objects.create_superuser("boss@bookshop.example"))
        for name in ("events_app_event", "events_app_inboundmail", "sending_app_outboxmessage"):
            with self.subTest(name):
                response = self.client.get(reverse(f"admin:{name}_changelist"))
                self.assertEqual(response.status_code, 200)
