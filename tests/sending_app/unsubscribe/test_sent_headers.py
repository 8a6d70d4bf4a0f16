"""The requests that SendGrid receives, from each backend."""

from collections.abc import Callable

import pytest
from pytest_django import Settings

from sending_app.message import SendGridMessage
from sending_app.unsubscribe_links import read_token
from tests.support.sending.django_mail import Arrived, use_backend
from tests.support.sending.unsubscribe_links import PREFIX, header_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_mail_arrives_with_a_link_of_its_recipient(
    backend: str, arrived: Arrived, settings: Settings, anymail: Callable[..., None]
) -> None:
    use_backend(settings, backend)
    anymail(UNSUBSCRIBE_URL="https://mail.example.com/mail")
    message = SendGridMessage(
        "News", "Text", to=["ann@example.com", "bob@example.com"], merge_data={}, unsubscribe_scope="news"
    )
    message.send()
    (request,) = arrived()
    for address, personalization in zip(message.to, request["personalizations"], strict=True):
        assert personalization["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        url = header_of(personalization)
        link = read_token(url.removeprefix(f"{PREFIX}unsubscribe/"))
        status = message.anymail_status.recipients[address]
        assert (link.address, link.message_id) == (address, status.message_id)
