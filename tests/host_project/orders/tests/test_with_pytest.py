"""The same, tested in pytest's style."""

from typing import Any

import pytest
from accounts.models import User
from django.core.mail import EmailMessage
from django.test import Client

from events_app.signals import EventType
from events_app.testing import post_events, tracking_event
from orders.tests.mailers import using
from sending_app.testing import assert_mail_sent

pytestmark = pytest.mark.django_db


def test_an_announcement_has_the_template_and_the_title(
    client: Client, mailoutbox: list[EmailMessage]
) -> None:
    User.objects.create_user("ann@customer.example")
    client.post("/announce/", {"title": "Emma"})
    (message,) = mailoutbox
    assert_mail_sent(template_id="d-5a963add2ec84305813ff860db277d7a", merge_global_data={"title": "Emma"})
    assert message.to == ["ann@customer.example"]


def test_a_complaint_stops_mail_to_the_customer(client: Client) -> None:
    User.objects.create_user("ann@customer.example")
    post_events(client, [tracking_event(EventType.COMPLAINED, recipient="ann@customer.example")])
    assert not User.objects.get().gets_mail


def test_a_local_sendgrid_takes_the_request(client: Client, settings: Any, fake_sendgrid: Any) -> None:
    """Outside the simulation of a test run: the direct backend posts to a process of the fixture."""
    User.objects.create_user("ann@customer.example")
    settings.ANYMAIL = {
        **settings.ANYMAIL,
        "EAGER_IN_TESTS": False,
        "SENDGRID_API_KEY": "SG.any",
        "SENDGRID_API_URL": fake_sendgrid.url,
    }
    with using("direct"):
        client.post("/announce/", {"title": "Emma"})
    (mail,) = fake_sendgrid.mails
    assert "ann@customer.example" in repr(mail)
