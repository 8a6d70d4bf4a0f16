"""A message id leads to the page of its mail."""

import uuid

import pytest
from django.test import Client

from events_app.models import Event
from sending_app.models import Recipient
from tests.support.operators import page, sign_in, url_of
from tests.support.sending.mail_events import event_of_last_mail, receive_events
from tests.support.sending.outbox_mails import mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def of_message_id(message_id: object) -> str:
    return url_of("sending_app.mail", message_id, "of_message_id")


def test_a_message_id_leads_to_the_page_of_its_mail(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", batch=True))
    for recipient in Recipient.objects.all():
        response = client.get(of_message_id(recipient.message_id))
        assert response["Location"] == url_of("sending_app.mail", recipient.mail_id)
    unknown = uuid.uuid4()
    response = client.get(of_message_id(unknown))
    assert response["Location"] == f"{url_of('sending_app.mail')}?q={unknown}"


def test_the_page_of_an_event_links_to_its_mail(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com"))
    receive_events(event_of_last_mail(3, "delivered", "ann@example.com"))
    shown = page(client, "events_app.event", Event.objects.get().pk)
    assert f'href="{of_message_id(Recipient.objects.get().message_id)}"' in shown


def test_a_message_id_tells_nothing_without_the_permission(database: str, client: Client) -> None:
    sign_in(client, "events_app.view_event")
    put_in_outbox()
    assert client.get(of_message_id(Recipient.objects.get().message_id)).status_code == 403
