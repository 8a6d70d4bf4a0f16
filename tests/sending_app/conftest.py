"""Fixtures of tests that post: no proxy of the machine, and no open connection of an earlier test."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app.api import sessions
from sending_app.outcome import activity
from tests.support.http_server import HttpServer, Serve
from tests.support.sending.django_mail import BOTH_BACKENDS, QUEUED, Arrived, post_due_mail, without_ids


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_sessions() -> None:
    sessions.open_sessions.by_url.clear()


@pytest.fixture(autouse=True)
def no_remembered_activity() -> None:
    activity.known_buckets.clear()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that ends with the test."""
    with ExitStack() as running:
        yield lambda behave, **how: running.enter_context(HttpServer(behave, **how))


@pytest.fixture
def sendgrid(anymail: Callable[..., None], settings: Settings) -> Iterator[FakeSendGrid]:
    """A SendGrid on this machine that takes any key; the settings lead to it."""
    settings.DEFAULT_FROM_EMAIL = "shop@example.com"
    with FakeSendGrid(keys=None) as found:
        anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=found.url)
        yield found


@pytest.fixture(params=BOTH_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def arrived(backend: str, sendgrid: FakeSendGrid) -> Arrived:
    """The bodies of the requests that SendGrid has taken."""

    def look() -> list[dict[str, Any]]:
        if backend == QUEUED:
            post_due_mail()
        return [without_ids(one.body) for one in sendgrid.accepted]

    return look
