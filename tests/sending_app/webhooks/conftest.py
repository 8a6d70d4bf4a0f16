"""Fixtures: a site that answers webhooks, and a person who copies keys into its settings."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.sending.webhook_settings import Deploy
from tests.support.sending.webhook_site import WebhookSite


@pytest.fixture
def site(anymail: Callable[..., None]) -> Iterator[WebhookSite]:
    """It has neither a key nor a password."""
    anymail(WEBHOOK_SECRET=None)
    with WebhookSite() as site:
        yield site


@pytest.fixture
def deploy(anymail: Callable[..., None]) -> Deploy:
    """Puts keys of Event Webhooks into the settings of the site."""
    return lambda *keys: anymail(SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=list(keys))
