"""The same view, tested in pytest's style."""

import pytest
from accounts.models import User
from django.core.mail import EmailMessage
from django.test import Client


@pytest.mark.django_db
def test_an_announcement_has_the_template_and_the_title(
    client: Client, mailoutbox: list[EmailMessage]
) -> None:
    User.objects.create_user("ann@customer.example")
    client.post("/announce/", {"title": "Emma"})
    (message,) = mailoutbox
    assert getattr(message, "template_id", "").startswith("d-")
    assert getattr(message, "merge_global_data", None) == {"title": "Emma"}
