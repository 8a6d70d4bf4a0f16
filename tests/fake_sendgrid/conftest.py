"""A webhook that receives fake_sendgrid's posts."""

from collections.abc import Iterator

import pytest

from tests.support.fake_sendgrid.webhook_receiver import WebhookReceiver


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as webhook:
        yield webhook
