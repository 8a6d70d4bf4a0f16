"""The ground for what posts: no proxies of this machine's, no connections of another test's."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sending_app import sessions
from tests.sending_app.wire import Serve, Wire


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_sessions() -> Iterator[None]:
    sessions.close()
    yield
    sessions.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that ends with the test."""
    with ExitStack() as running:
        yield lambda behave, **how: running.enter_context(Wire(behave, **how))
