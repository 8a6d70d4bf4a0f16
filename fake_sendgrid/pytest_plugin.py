"""A pytest plugin with the fixture `fake_sendgrid`. It does nothing in a run that does not ask for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fake_sendgrid.client import Client


@pytest.fixture(scope="session")
def _fake_sendgrid_process() -> Iterator["Client"]:
    # pytest imports this module in every run; the package of the client only in a run that needs it.
    from fake_sendgrid import client  # noqa: PLC0415

    with client.start() as double:
        yield double


@pytest.fixture
def fake_sendgrid(_fake_sendgrid_process: "Client") -> Iterator["Client"]:
    """A local SendGrid on a free port: see `fake_sendgrid.client.Client`.

    One process serves the tests of a session, or of a pytest-xdist worker. It is cleared after each test.
    """
    yield _fake_sendgrid_process
    # Its webhook may end with the test.
    _fake_sendgrid_process.clear()
