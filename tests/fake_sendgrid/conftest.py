"""A webhook that receives fake_sendgrid's posts, and a local SendGrid with its pages."""

from collections.abc import Iterator

import pytest

from fake_sendgrid.client import Client
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import site
from tests.support.fake_sendgrid.webhook_receiver import WebhookReceiver


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as webhook:
        yield webhook


@pytest.fixture
def fake() -> Iterator[FakeSendGrid]:
    """A local SendGrid with its pages and its control API."""
    with FakeSendGrid(keys=None) as fake:
        site.add_to(fake)
        yield fake


@pytest.fixture
def double(fake: FakeSendGrid) -> Client:
    """A client of `fake`."""
    return Client(fake.page_url)
