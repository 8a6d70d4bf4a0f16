"""The view that sends mail: Django's test runner keeps the mail in `mail.outbox`."""

from accounts.models import User
from django.core import mail
from django.test import TestCase
from django.urls import reverse


class AnnouncementTests(TestCase):
    def test_each_customer_who_gets_mail_is_in_the_merge(self) -> None:
        ann = User.objects.create_user("ann@customer.example")
        User.objects.create_user("bob@customer.example", gets_mail=False)

        response = self.client.post(reverse("announce"), {"title": "Emma"})

        self.assertEqual(response.content, b"1 mails")
        (message,) = mail.outbox
        self.assertEqual(message.to, ["ann@customer.example"])
        self.assertEqual(getattr(message, "merge_data", None), {"ann@customer.example": {"customer": ann.pk}})
