"""A deployment that is well, but for its workers: each test breaks one thing of it."""

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from events_app.monitoring import broker
from fake_sendgrid.server import FakeSendGrid
from sending_app.api import sessions
from tests.support.doctor import UseBroker
from tests.support.sending.django_mail import QUEUED, use_backend
from workers.app import app


@pytest.fixture(autouse=True)
def sendgrid(
    anymail: Callable[..., None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeSendGrid]:
    """A SendGrid on this machine, and settings without a fault."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "NETRC":
            monkeypatch.delenv(name)
    sessions.open_sessions.by_url.clear()
    monkeypatch.setattr(broker, "ANSWER", 0.1)  # there is no worker that could answer
    use_backend(settings, QUEUED)
    settings.SECRET_KEY = secrets.token_urlsafe(50)
    settings.DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"
    with FakeSendGrid() as server:
        server.account.domains = {"example.com": True}
        url = f"http://{settings.ANYMAIL['WEBHOOK_SECRET']}@127.0.0.1/anymail/sendgrid/tracking/"
        webhook = {"url": url, "enabled": True, "delivered": True}
        server.event_webhooks.create(webhook, with_status_change=False)
        anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=server.url)
        yield server


@pytest.fixture
def use_broker(monkeypatch: pytest.MonkeyPatch) -> UseBroker:
    def change(url: str) -> None:
        for name in ("broker_read_url", "broker_write_url"):
            monkeypatch.setitem(app.conf, name, url)

    return change
