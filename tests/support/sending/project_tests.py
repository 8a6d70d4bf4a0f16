"""What the tests of a project meet: no server of ours, no API key, and settings that lead to closed ports."""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from tests.support.brokers import UNREACHABLE
from workers.app import app

#: `ANYMAIL` of a project that sets nothing for tests.
ANYMAIL: dict[str, Any] = {
    "EVENT_REDIS_URL": UNREACHABLE,
    "SENDGRID_API_URL": "http://127.0.0.1:1/v3/",
    "SEND_DEFAULTS": {"tags": ["shop"], "track_clicks": True},
}


def broker_away() -> AbstractContextManager[Any]:
    return mock.patch.dict(app.conf, {"broker_write_url": UNREACHABLE})


@contextmanager
def no_connections() -> Iterator[None]:
    """Any connection of Python's fails the test. Not PostgreSQL's: libpq makes its own."""
    with mock.patch.object(socket.socket, "connect", side_effect=ConnectionError) as connect:
        yield
    connect.assert_not_called()  # the code under test may have caught the error
